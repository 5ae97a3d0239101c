"""Go back to an earlier generation, or forward again."""

from dataclasses import dataclass

from lightcl_edge.errors import StateError
from lightcl_edge.state.change import changing
from lightcl_edge.state.state import State


@dataclass(frozen=True)
class RolledBack:
    """The generation that is in use now, the one before, and the classes that are known now."""

    generation: int
    previous: int
    classes: list[str]


def roll_back(state: State, target: int | None = None) -> RolledBack:
    """Use another generation from now on; None is the one that the current one was learned from.

    Raises StateError when there is no such generation, it is damaged, or another process changes the state.
    """
    with changing(state) as change:
        current = state.current_number()
        if target is None and current == 0:
            raise StateError(f"{state.folder} has no generation to go back from; generation 0 is the bundle itself")
        chosen = state.back_from(current) if target is None else target
        classes = change.make_current(chosen).meta.classes
        change.end_task()
    return RolledBack(chosen, current, classes)
