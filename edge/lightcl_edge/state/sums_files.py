"""``sums/`` of a generation: one file a class, named by the hash of the class's name.

Most classes stay as they are from one generation to the next. Their files are linked, so learning one image writes the
file of one class. A linked file must never be written to again. What came from another board lies in files of its own,
which ``boards.json`` lists. Of a pool ``pools.json`` lists the boards, and one file more has its scatter.

Predictions need no sums. So a class's file is checked when a task, or ``history``, asks for it.
"""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Container, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, TypeVar

import numpy as np

from lightcl_edge.data.class_sums import ClassSums, triangle_size
from lightcl_edge.data.shared_sums import KnownScatter, KnownSums, Pool, SharedSums, by_board
from lightcl_edge.data.sums import BoardVersion, Sums
from lightcl_edge.errors import StateError
from lightcl_edge.files.durable import fsync_folder, link_or_copy, write_durably
from lightcl_edge.files.plain import read_limited
from lightcl_edge.files.records import NOT_NEGATIVE, POSITIVE, read_record
from lightcl_edge.files.strict_json import MAX_JSON_BYTES, parse_json
from lightcl_edge.files.tensors import FloatArray, read_hashed_tensors, write_tensors
from lightcl_edge.state.generation import Meta
from lightcl_edge.state.generation_checks import way_back

FOLDER = "sums"
#: In a generation's folder, where other boards taught something: their versions, and the images of their classes.
BOARDS = "boards.json"
#: The same of pools: the boards that each counts.
POOLS = "pools.json"
#: Of a class's name, in the names of its files.
HASH_DIGITS = 32
_MOST_HEADER_BYTES = 4096
_Line = TypeVar("_Line")


@dataclass(frozen=True)
class StoredSums:
    """A class's sums on the disk."""

    name: str  # of the class
    path: Path
    sha256: str
    count: int
    size: int
    of_pool: bool = False

    def read(self) -> ClassSums:
        """Read and check the file, or raise a StateError when it is missing or damaged."""
        limit_bytes = 4 * triangle_size(self.size) + 8 * self.size + _MOST_HEADER_BYTES
        try:
            sums = ClassSums.from_tensors(
                read_hashed_tensors(self.path, self.sha256, limit_bytes, StateError), self.size, self.of_pool
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


@dataclass(frozen=True)
class StoredScatter:
    """A pool's scatter on the disk."""

    path: Path
    sha256: str
    size: int

    def read(self) -> FloatArray:
        """Read and check the file, or raise a StateError when it is missing or damaged."""
        limit_bytes = 4 * triangle_size(self.size) + _MOST_HEADER_BYTES
        triangle = read_hashed_tensors(self.path, self.sha256, limit_bytes, StateError).get("triangle")
        if triangle is None or triangle.shape != (triangle_size(self.size),):
            raise StateError(
                f"{self.path} holds no scatter of {self.size} numbers a sample; {way_back(self.path.parents[1])}"
            )
        return triangle.astype(np.float32, copy=False)


def class_hash(name: str) -> str:
    """What stands for a class's name where the name itself must not be kept."""
    return hashlib.sha256(name.encode()).hexdigest()[:HASH_DIGITS]


def sums_file(name: str, board: str | None = None) -> str:
    """Where a class's sums lie in a generation's folder: this board's own, or those that came from another board."""
    of_board = "" if board is None else f"-{class_hash(board)[:16]}"
    return f"{FOLDER}/{class_hash(name)}{of_board}.safetensors"


def _scatter_file(pool: str) -> str:
    return f"{FOLDER}/pool-{class_hash(pool)[:16]}.safetensors"


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
    for name, pool in sums.pools.items():
        hashes[_scatter_file(name)] = _write_scatter(folder / _scatter_file(name), pool)
    if hashes:
        fsync_folder(folder / FOLDER)
    if boards := _shares_of(sums):
        text = json.dumps({board: asdict(share) for board, share in boards.items()}, indent=1, sort_keys=True)
        hashes[BOARDS] = write_durably(folder / BOARDS, text.encode())
    if sums.pools:
        pools = {name: {"images": pool.images, "boards": dict(pool.boards)} for name, pool in sums.pools.items()}
        hashes[POOLS] = write_durably(folder / POOLS, json.dumps(pools, indent=1, sort_keys=True).encode())
    return hashes


def _write(path: Path, known: KnownSums) -> str:
    if isinstance(known, StoredSums):
        known.keep_in(path)
        return known.sha256
    return write_tensors(path, known.read().tensors())


def _write_scatter(path: Path, pool: Pool) -> str:
    if isinstance(pool.scatter, StoredScatter):
        try:
            link_or_copy(pool.scatter.path, path)
        except FileNotFoundError as error:
            raise StateError(f"{pool.scatter.path} is missing; {way_back(path.parents[1])}") from error
        return pool.scatter.sha256
    return write_tensors(path, {"triangle": pool.scatter.read()})


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


@dataclass(frozen=True)
class _PoolLine:
    """A line of ``pools.json``."""

    images: Annotated[int, POSITIVE]
    boards: dict[str, Annotated[int, POSITIVE]]


def _lines(folder: Path, meta: Meta, name: str, kind: type[_Line]) -> dict[str, _Line]:
    """The lines of a record, by board; none where the generation has no such record."""
    if name not in meta.files:
        return {}
    data = read_limited(folder / name, MAX_JSON_BYTES)
    if hashlib.sha256(data).hexdigest() != meta.files[name]:
        raise ValueError(f"the hash of {name} differs")
    return {
        str(board): read_record(kind, value, board, ValueError, "all of its keys", complete=True)
        for board, value in parse_json(data).items()
    }


def _read_pools(folder: Path, meta: Meta, size: int) -> dict[str, Pool]:
    pools = {}
    for name, line in _lines(folder, meta, POOLS, _PoolLine).items():
        file = _scatter_file(name)
        if file not in meta.files:
            raise ValueError(f"it names the pool {name[:80]!a}, of which there is no scatter")
        pools[name] = Pool(line.boards, line.images, StoredScatter(folder / file, meta.files[file], size))
    return pools


def _read_shares(folder: Path, meta: Meta) -> dict[str, _Share]:
    shares = _lines(folder, meta, BOARDS, _Share)
    for board, share in shares.items():
        for name in share.images:
            if name not in meta.classes or sums_file(name, board) not in meta.files:
                raise ValueError(f"it names {name[:80]!a} of board {board[:80]!a}, of which there are no sums")
    return shares


def stored_sums(folder: Path, meta: Meta, size: int) -> Sums:
    """The sums of a generation, none of them read yet. StateError when its records do not fit together."""
    try:
        shares, pools = _read_shares(folder, meta), _read_pools(folder, meta, size)
        known: dict[str, KnownSums] = {}
        for name, count in zip(meta.classes, meta.images_by_class, strict=True):
            if count:
                known[name] = _stored(folder, meta, size, name, count, shares, pools)
    except (OSError, ValueError, AttributeError) as error:
        raise StateError(f"{folder / BOARDS} does not fit: {error}; {way_back(folder)}") from error
    versions = {board: BoardVersion(share.version, share.digest) for board, share in shares.items() if share.version}
    return Sums(size, known, versions, pools)


def _stored(
    folder: Path,
    meta: Meta,
    size: int,
    name: str,
    count: int,
    shares: Mapping[str, _Share],
    pools: Container[str],
) -> KnownSums:
    others: dict[str, KnownSums] = {}
    for board, share in shares.items():
        if name in share.images:
            file = sums_file(name, board)
            others[board] = StoredSums(name, folder / file, meta.files[file], share.images[name], size, board in pools)
    own, file = count - sum(part.count for part in others.values()), sums_file(name)
    if own < 0 or (own > 0) != (file in meta.files):
        raise ValueError(f"{own} of {count} images of class {name[:80]!a} were taught here, expected their own sums")
    mine = StoredSums(name, folder / file, meta.files[file], own, size) if own else None
    return SharedSums(mine, others) if others or mine is None else mine


def mended(sums: Sums) -> tuple[Sums, list[str]]:
    """The sums without damaged pools, and names of classes whose sums are damaged or gone with a pool.

    Each is read in turn.
    """
    left = sums
    for name, pool in sums.pools.items():
        if not _can_be_read(pool.scatter):
            left = left.without_pool(name)
    return left, [name for name in sums.classes if name not in left.classes or not _can_be_read(left.classes[name])]


def _can_be_read(known: KnownSums | KnownScatter) -> bool:
    try:
        known.read()
    except StateError:
        return False
    return True


def check_sums(sums: Sums) -> None:
    """Read the sums of each class and the scatter of each pool, or raise a StateError for the first that is damaged."""
    for known in sums.classes.values():
        known.read()
    for pool in sums.pools.values():
        pool.scatter.read()
