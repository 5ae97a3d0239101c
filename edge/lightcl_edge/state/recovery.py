"""What a crash left half-made is cleared when a state is locked next; a crash in here changes nothing of that."""

from __future__ import annotations

from pathlib import Path

from lightcl_edge.files.durable import remove, remove_tree
from lightcl_edge.state.forgetting import finish_forgetting
from lightcl_edge.state.pointer import Pointer, read_pointer, write_pointer
from lightcl_edge.state.state import State

#: Endings of what is written aside, and of what is on its way out.
_HALF_MADE = (".new", ".old")


def recover(state: State) -> None:
    """Bring a state directory into the form that every operation starts from. Called with the lock held.

    Args:
        state: the state.

    Raises:
        StateError: when ``CURRENT`` is damaged and no generation is whole.
    """
    cleared = [path.name for path in _half_made(state)]
    for path in _half_made(state):
        remove_tree(path)
    pointer = read_pointer(state.folder)
    current = state.current_number()
    if state.exists() and pointer != (believed := Pointer(current, state.newest())):
        write_pointer(state.folder, believed)
        cleared.append("CURRENT")
    if state.exists():
        # On disk beyond the newest committed one: renamed into place, never pointed at. Its task is still in work/.
        for number in set(state.numbers_on_disk()) - set(state.numbers()):
            remove_tree(state.place(number))
            cleared.append(state.place(number).name)
    finish_forgetting(state)
    if state.work.is_dir():
        for path in state.work.glob("*.new"):
            remove(path)
    if state.drop_finished_task():
        cleared.append("work")
    if cleared:
        state.note("recovered", cleared=sorted(cleared))


def _half_made(state: State) -> list[Path]:
    folders = [folder for folder in (state.folder, state.generations) if folder.is_dir()]
    return sorted(path for folder in folders for path in folder.iterdir() if path.suffix in _HALF_MADE)
