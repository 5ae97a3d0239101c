"""Clear what a crash left half-made. A crash in here changes nothing of that."""

from pathlib import Path

from lightcl_edge.errors import StateError
from lightcl_edge.files.durable import fsync_folder, remove_tree, rename
from lightcl_edge.state.pointer import Pointer, read_pointer, write_pointer
from lightcl_edge.state.state import State
from lightcl_edge.state.updates import read_updates

#: Endings of what is being written, and of what is being removed.
_HALF_MADE = (".new", ".old")


def clear_half_made(state: State) -> list[str]:
    """Remove half-made files, repair ``CURRENT``, and remove a generation that was never committed.

    Gives the names of what was cleared.
    """
    half_made = _half_made(state.folder) + _half_made(state.generations)
    for path in half_made + _half_made(state.work):
        remove_tree(path)
    cleared = [path.name for path in half_made]
    pointer, current = read_pointer(state.folder), state.current_number()
    if not state.exists():
        return cleared
    committed = state.committed(pointer)
    believed = Pointer(current, max([0, *committed]))
    if pointer != believed:
        write_pointer(state.folder, believed)
        cleared.append("CURRENT")
    # Renamed into place, but CURRENT never named it. Its task is still in work/.
    for number in set(state.numbers_on_disk()) - set(committed):
        remove_tree(state.place(number))
        cleared.append(state.place(number).name)
    return cleared + drop_bundles(state)


def drop_bundles(state: State) -> list[str]:
    """Remove bundles of which no generation is left; gives their names. While a record can't be read, all are kept."""
    trial = read_updates(state.folder).trial
    needed = [*state.numbers(), state.current_number(), *([trial.back] if trial else [])]
    try:
        used = {state.bundle_folder_of(number) for number in needed}
    except StateError:
        return []
    unused = [path for path in state.bundle_folders() if path not in used]
    for path in unused:
        rename(path, path.with_suffix(".old"))
    if unused:
        fsync_folder(state.folder)
    for path in unused:
        remove_tree(path.with_suffix(".old"))
    return [path.name for path in unused]


def _half_made(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.suffix in _HALF_MADE) if folder.is_dir() else []
