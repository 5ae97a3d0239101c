"""``STATE/FORGET``: the note of a class to forget. A forgetting that a crash cut short is finished by this note."""

import json

import numpy as np

from lightcl_edge.errors import BundleError, StateError
from lightcl_edge.files.durable import fsync_folder, remove, rename, replace_durably
from lightcl_edge.files.plain import NotPlainError
from lightcl_edge.files.strict_json import parse_json, read_json
from lightcl_edge.files.tensors import TensorFile, write_tensors
from lightcl_edge.state import journal
from lightcl_edge.state.board import KEPT, MAX_ERASURES, read_board, with_erased, write_board
from lightcl_edge.state.exported_classes import forget_base_class
from lightcl_edge.state.generation_files import drop_generations
from lightcl_edge.state.recovery import drop_bundles
from lightcl_edge.state.state import State
from lightcl_edge.state.sums_files import class_hash

_NOTE = "FORGET"


def note_forgetting(state: State, class_name: str, first_without: int, erasures: int) -> None:
    """Note durably what is to be forgotten. The note counts once ``CURRENT`` names a generation without the class.

    Args:
        first_without: the first generation that was written without it; 0 when only the bundle knows the class.
        erasures: how often the class was erased, with this time.
    """
    note = {"below": first_without, "class": class_name, "erasures": erasures}
    replace_durably(state.folder / _NOTE, json.dumps(note).encode())


def finish_forgetting(state: State) -> int:
    """Drop the generations from before and the class's name; does nothing without a note.

    A note that can't be read is dropped: it must not block every command that locks the state. Gives how many samples
    of generation 0 were erased.
    """
    path, erased = state.folder / _NOTE, 0
    if not path.exists():
        return 0
    below, name, erasures = -1, "", 0
    try:
        value = read_json(path)
        below, name, erasures = int(value["below"]), str(value["class"]), int(value.get("erasures", 1))
    except (NotPlainError, ValueError, KeyError, TypeError, AttributeError):
        journal.note(state.folder, "a damaged note of a class to forget was dropped; forget it again")
    if 0 <= below <= state.newest():  # else CURRENT never moved: as if it had not been asked for
        drop_generations([state.place(number) for number in state.numbers() if number < below])
        drop_bundles(state)
        try:
            erased = forget_base_class(state.folder, state.bundle_of(0), name)
        except (StateError, BundleError) as error:  # generation 0 can't be read then, and the rest must go on
            journal.note(state.folder, "the bundle's own classes could not be erased", problem=str(error))
        _note_erasure(state, name, erasures)
        _forget_in_kept(state, name)
        journal.erase_name(state.folder, name)
        journal.note(state.folder, "forgot a class", generation=state.current_number())
    remove(path)
    fsync_folder(state.folder)
    return erased


def _note_erasure(state: State, name: str, erasures: int) -> None:
    """Remember the erasure for other boards. A damaged record of this board must not be in the way of erasing."""
    try:
        board = read_board(state.folder)
    except StateError as error:
        journal.note(state.folder, "other boards will not hear of an erased class", problem=str(error))
        return
    write_board(state.folder, with_erased(board, {class_hash(name): min(max(1, erasures), MAX_ERASURES)}))


def _forget_in_kept(state: State, name: str) -> None:
    """Take a class out of what this board shared, as if it had not been in it; a damaged file is removed."""
    folder, prefix = state.folder / KEPT, f"{class_hash(name)}."
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        try:
            file = TensorFile(path, StateError)
            tensors = {each: np.asarray(file[each]) for each in file if not each.startswith(prefix)}
            record = parse_json(tensors["record"].tobytes())
            record["images"].pop(name, None)
            record["tensors"] = {each: found for each, found in record["tensors"].items() if each in tensors}
        except (StateError, ValueError, KeyError, TypeError, AttributeError):
            remove(path)
            continue
        tensors["record"] = np.frombuffer(json.dumps(record, sort_keys=True).encode(), np.uint8)
        tensors.pop("signature", None)
        aside = state.folder / f"{KEPT}.new"
        write_tensors(aside, tensors)
        rename(aside, path)
    if folder.is_dir():
        fsync_folder(folder)
