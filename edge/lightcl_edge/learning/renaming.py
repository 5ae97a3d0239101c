"""Give a class another name."""

import time
from dataclasses import replace

from lightcl_edge.console.text import Document
from lightcl_edge.data.class_names import canonical, check_class_names
from lightcl_edge.data.shared_sums import BUNDLE_BOARD, by_board
from lightcl_edge.errors import UsageError
from lightcl_edge.state.change import Change


def rename_class(change: Change, old: str, new: str) -> Document:
    """Commit a generation in which a class has another name; earlier generations keep the old one.

    Raises:
        DataError: when the new name can't be one.
        UsageError: when no class has the old name, or one has the new name already.
        StateError: when the current generation is damaged.
    """
    state = change.state
    generation = state.read()
    meta = generation.meta
    if old not in meta.classes:
        raise UsageError(f"no class {old!r}; known are {meta.classes}")
    check_class_names([new])
    new = canonical(new)
    if new in meta.classes:
        raise UsageError(f"there is a class {new!r} already; expected a name that no class has")
    boards = sorted(set(by_board(generation.sums.classes.get(old)).others) - {BUNDLE_BOARD})
    if boards:
        raise UsageError(f"{', '.join(boards)} taught {old!r} too; a class that came from others keeps its name")
    renamed = replace(
        meta,
        generation=state.next_number(),
        parent=meta.generation,
        created=time.time(),
        classes=[new if name == old else name for name in meta.classes],
    )
    change.commit(replace(generation, meta=renamed, sums=generation.sums.rename(old, new)))
    return {"class": new, "was": old, "generation": renamed.generation, "classes": renamed.classes}
