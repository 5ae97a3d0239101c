"""``sums/`` of a generation: one file a class, named by the hash of the class's name.

Most classes stay as they are from one generation to the next. Their files are linked, so learning one image writes the
file of one class. A linked file must never be written to again. What came from another board lies in files of its own,
which ``boards.json`` lists.

Predictions need no sums. So a class's file is checked when a task, or ``history``, asks for it.
"""

from __future__ import annotations

import hashlib
import json
import shlex
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

from lightcl_edge.data.class_sums import ClassSums, triangle_size
from lightcl_edge.data.shared_sums import KnownSums, SharedSums, by_board
from lightcl_edge.data.sums import BoardVersion, Sums
from lightcl_edge.errors import StateError
from lightcl_edge.files.durable import fsync_folder, link_or_copy, write_durably
from lightcl_edge.files.plain import read_limited
from lightcl_edge.files.records import NOT_NEGATIVE, POSITIVE, read_record
from lightcl_edge.files.strict_json import MAX_JSON_BYTES, parse_json
from lightcl_edge.files.tensors import read_hashed_tensors, write_tensors
from lightcl_edge.state.generation import Meta
from lightcl_edge.state.generation_checks import way_back

FOLDER = "sums"
#: In a generation's folder, where other boards taught something: their versions, and the images of their classes.
BOARDS = "boards.json"
#: Of a class's name, in the names of its files.
HASH_DIGITS = 32
_MOST_HEADER_BYTES = 4096


@dataclass(frozen=True)
class StoredSums:
    """A class's sums on the disk."""

    name: str  # of the class
    path: Path
    sha256: str
    count: int
    size: int

    def read(self) -> ClassSums:
        """Read and check the file, or raise a StateError when it is missing or damaged."""
        limit_bytes = 4 * triangle_size(self.size) + 8 * self.size + _MOST_HEADER_BYTES
        try:
            sums = ClassSums.from_tensors(
                read_hashed_tensors(self.path, self.sha256, limit_bytes, StateError), self.size
            )
            if sums.count != self.count:
                raise ValueError(f"it is of {sums.count} images, expected {self.count} as in the record")
        except (StateError, ValueError) as error:
            raise self._unusable(error) from error
        return sums

    def keep_in(self, path: Path) -> None:
        """Link or copy the file, unread, or raise a StateError when it is missing."""
        try:
            link_or_copy(self.path, path)
        except FileNotFoundError as error:
            raise self._unusable(error) from error

    def _unusable(self, error: Exception) -> StateError:
        state = shlex.quote(str(self.path.parents[3]))
        return StateError(
            f"the sums of class {self.name!r} can't be used: {error}; forget the class and teach it again "
            f"(lightcl-edge forget --state {state} --class {shlex.quote(self.name)}), or roll back to a "
            f"generation from before it was taught (lightcl-edge history --state {state})"
        )


def class_hash(name: str) -> str:
    """What stands for a class's name where the name itself must not be kept."""
    return hashlib.sha256(name.encode()).hexdigest()[:HASH_DIGITS]


def sums_file(name: str, board: str | None = None) -> str:
    """Where a class's sums lie in a generation's folder: this board's own, or those that came from another board."""
    of_board = "" if board is None else f"-{class_hash(board)[:16]}"
    return f"{FOLDER}/{class_hash(name)}{of_board}.safetensors"


def write_sums(folder: Path, sums: Sums) -> dict[str, str]:
    """Write and sync the files of all classes; gives their hashes by name."""
    hashes: dict[str, str] = {}
    for name, known in sums.classes.items():
        parts = by_board(known)
        if parts.own is not None:
            hashes[sums_file(name)] = _write(folder / sums_file(name), parts.own)
        for board, part in parts.others.items():
            place = sums_file(name, board)
            hashes[place] = _write(folder / place, part)
    if hashes:
        fsync_folder(folder / FOLDER)
    if boards := _shares_of(sums):
        text = json.dumps({board: asdict(share) for board, share in boards.items()}, indent=1, sort_keys=True)
        hashes[BOARDS] = write_durably(folder / BOARDS, text.encode())
    return hashes


def _write(path: Path, known: KnownSums) -> str:
    if isinstance(known, StoredSums):
        known.keep_in(path)
        return known.sha256
    return write_tensors(path, known.read().tensors())


@dataclass(frozen=True)
class _Share:
    """A line of ``boards.json``: what is known of another board."""

    version: Annotated[int, NOT_NEGATIVE]
    digest: str
    images: dict[str, Annotated[int, POSITIVE]]  # in its sums, by class


def _shares_of(sums: Sums) -> dict[str, _Share]:
    boards = set(sums.boards) | {board for known in sums.classes.values() for board in by_board(known).others}
    unversioned = BoardVersion(0, "")
    return {
        board: _Share(
            (version := sums.boards.get(board, unversioned)).version,
            version.digest,
            {name: part.count for name, part in sums.of_board(board).items()},
        )
        for board in sorted(boards)
    }


def _read_shares(folder: Path, meta: Meta) -> dict[str, _Share]:
    if BOARDS not in meta.files:
        return {}
    data = read_limited(folder / BOARDS, MAX_JSON_BYTES)
    if hashlib.sha256(data).hexdigest() != meta.files[BOARDS]:
        raise ValueError("its hash differs")
    shares = {
        str(board): read_record(_Share, value, board, ValueError, "all of its keys", complete=True)
        for board, value in parse_json(data).items()
    }
    for board, share in shares.items():
        for name in share.images:
            if name not in meta.classes or sums_file(name, board) not in meta.files:
                raise ValueError(f"it names {name[:80]!a} of board {board[:80]!a}, of which there are no sums")
    return shares


def stored_sums(folder: Path, meta: Meta, size: int) -> Sums:
    """The sums of a generation, none of them read yet. StateError when its records do not fit together."""
    try:
        shares = _read_shares(folder, meta)
        known: dict[str, KnownSums] = {}
        for name, count in zip(meta.classes, meta.images_by_class, strict=True):
            if count:
                known[name] = _stored(folder, meta, size, name, count, shares)
    except (OSError, ValueError, AttributeError) as error:
        raise StateError(f"{folder / BOARDS} does not fit: {error}; {way_back(folder)}") from error
    versions = {board: BoardVersion(share.version, share.digest) for board, share in shares.items() if share.version}
    return Sums(size, known, versions)


def _stored(folder: Path, meta: Meta, size: int, name: str, count: int, shares: dict[str, _Share]) -> KnownSums:
    others: dict[str, KnownSums] = {}
    for board, share in shares.items():
        if name in share.images:
            file = sums_file(name, board)
            others[board] = StoredSums(name, folder / file, meta.files[file], share.images[name], size)
    own, file = count - sum(part.count for part in others.values()), sums_file(name)
    if own < 0 or (own > 0) != (file in meta.files):
        raise ValueError(f"{own} of {count} images of class {name[:80]!a} were taught here, expected their own sums")
    mine = StoredSums(name, folder / file, meta.files[file], own, size) if own else None
    return SharedSums(mine, others) if others or mine is None else mine


def unusable_sums(sums: Sums) -> list[str]:
    """Names of the classes whose sums are damaged. Each is read in turn."""
    found = []
    for name, known in sums.classes.items():
        try:
            known.read()
        except StateError:
            found.append(name)
    return found


def check_sums(sums: Sums) -> None:
    """Read the sums of each class in turn, or raise a StateError for the first that is damaged."""
    for known in sums.classes.values():
        known.read()
