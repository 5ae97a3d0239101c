"""``share``: write what this board taught itself, for others."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from lightcl_edge.bundle.signature import read_private_key
from lightcl_edge.console.progress import Progress
from lightcl_edge.console.text import Document
from lightcl_edge.data.sums import Sums
from lightcl_edge.errors import UsageError
from lightcl_edge.files.tensors import Tensors
from lightcl_edge.fleet.kept import Kept
from lightcl_edge.fleet.knowledge import network_hash, tensors_of
from lightcl_edge.fleet.recorded_file import FORMAT, Record, hash_of, write_recorded
from lightcl_edge.state.board import KEPT, Board, named, read_board, write_board
from lightcl_edge.state.change import Change


def share(change: Change, out: Path, board_name: str | None, key: Path | None, keep: int | None = None) -> Document:
    """Write a knowledge file. Its version grows when there is something new to share since the last one.

    Args:
        keep: the version that a secure pool counts, 0 for none: the file is then kept in the state beside that one.

    Raises:
        UsageError: when the name can't be this board's, or the key can't be used.
        StateError: when the state or the sums of a class are damaged.
    """
    _refuse_folder(out)
    state = change.state
    private = read_private_key(key) if key else None
    bundle, board = state.bundle(), named(read_board(state.folder), board_name)
    sums = state.read(bundle=bundle).sums
    if board.name is None or board.name in sums.boards:
        raise UsageError(f"this state has taken in knowledge of a board called {board.name}; choose another --board")
    board, record, tensors = shared(board, sums, network_hash(bundle))
    # before the file is there, so that no two contents ever have one version
    write_board(state.folder, board)
    written = write_recorded(out, record, tensors, private)
    if keep is not None:
        Kept(state.folder / KEPT).keep(record.version, out, keep)
    return {
        "board": record.board,
        "version": record.version,
        "digest": record.digest,
        "classes": list(record.images),
        "images_by_class": record.images,
        "erased": len(record.erased),
        "bytes": written,
        "signed": private is not None,
        "boards": {name: of.version for name, of in sums.boards.items()},
        "path": str(out),
    }


def _refuse_folder(out: Path) -> None:
    if out.is_dir():
        raise UsageError(f"{out} is a folder; expected the file to write (--out)")


def share_head(
    change: Change, out: Path, board_name: str | None, key: Path | None, begin: Path | None, progress: Progress
) -> Document:
    """Train a head on what this board remembers and write it. Raises as :func:`train_head`."""
    from lightcl_edge.fleet.federated_head import train_head  # with an engine

    _refuse_folder(out)
    board = named(read_board(change.state.folder), board_name)
    write_board(change.state.folder, board)
    return train_head(change.state, board, begin, out, key, None, progress)


def shared(board: Board, sums: Sums, network: str) -> tuple[Board, Record, Tensors]:
    """What a board with a name shares: its record of it, that of the file, and the file's tensors."""
    taught = sums.own
    tensors = tensors_of(taught)
    images = {name: known.count for name, known in taught.items()}
    hashes = {name: hash_of(tensor) for name, tensor in tensors.items()}
    record = Record(FORMAT, str(board.name), max(1, board.version), network, sums.size, images, board.erased, hashes)
    if board.digest != record.digest:
        record = replace(record, version=board.version + 1)
    return replace(board, version=record.version, digest=record.digest), record, tensors
