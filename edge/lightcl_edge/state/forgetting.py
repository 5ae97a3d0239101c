"""Finish a forgetting that a crash cut short."""

from __future__ import annotations

from lightcl_edge.errors import BundleError, StateError
from lightcl_edge.files.durable import fsync_folder, remove
from lightcl_edge.files.plain import NotPlainError
from lightcl_edge.files.strict_json import read_json
from lightcl_edge.state import journal
from lightcl_edge.state.exported_classes import forget_base_class
from lightcl_edge.state.state import State

NOTE = "FORGET"


def finish_forgetting(state: State) -> int:
    """Drop the generations from before, and the class's name; does nothing when nobody was forgetting.

    A note that can't be read is dropped: it must not block every command that locks the state.

    Args:
        state: the state; its lock is held.

    Returns:
        How many samples of generation 0 were erased.
    """
    path, erased = state.folder / NOTE, 0
    if not path.exists():
        return 0
    below, name = -1, ""
    try:
        value = read_json(path)
        below, name = int(value["below"]), str(value["class"])
    except (NotPlainError, ValueError, KeyError, TypeError):
        state.note("a damaged note of a class to forget was dropped; forget it again")
    if 0 <= below <= state.newest():  # else CURRENT never moved: as if it had not been asked for
        try:
            erased = forget_base_class(state.folder, state.own_bundle(), name)
        except (StateError, BundleError) as error:  # generation 0 can't be read then, and the rest must go on
            state.note("the bundle's own classes could not be erased", problem=str(error))
        state.drop([number for number in state.numbers() if number < below])
        journal.erase_name(state.folder, name)
        state.note("forgot a class", generation=state.current_number())
    remove(path)
    fsync_folder(state.folder)
    return erased
