"""What arrives at a board: which files are taken in, which are passed over, and which are refused."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lightcl_edge.data.shared_sums import KnownSums
from lightcl_edge.data.sums import BoardVersion
from lightcl_edge.errors import DataError, LightclError
from lightcl_edge.fleet.knowledge import Knowledge
from lightcl_edge.fleet.pool import PoolFile, open_shared
from lightcl_edge.state.sums_files import class_hash


@dataclass(frozen=True)
class Ignored:
    """A file that is not taken in.

    Attributes:
        board: that it names; None where it can't be read.
        refused: what is wrong with it; None when it only tells nothing new.
    """

    file: Path
    board: str | None
    reason: str
    refused: LightclError | None = None


@dataclass(frozen=True)
class Arrivals:
    """Files of other boards, sorted out.

    Attributes:
        boards: the newest of each board, ``pools`` of each pool.
    """

    boards: Sequence[Knowledge]
    pools: Sequence[PoolFile]
    ignored: Sequence[Ignored]


def sort_out(
    paths: Iterable[Path],
    own_name: str,
    known: Mapping[str, BoardVersion],
    network: str,
    size: int,
    key: str | None,
    read: Callable[[Path], Knowledge | PoolFile] = open_shared,
) -> Arrivals:
    """Read all files and check them, in any order and repetition with the same result.

    Args:
        own_name: of this board.
        known: the boards whose knowledge this one has.
        network: hash of the network, ``size`` of its taps, and ``key`` that must have signed: as ``Knowledge.check``.
        read: opens a file; ``Knowledge`` where no pools are taken.
    """
    newest: dict[str, Knowledge | PoolFile] = {}
    ignored: list[Ignored] = []
    versions = dict(known)
    for path in paths:
        board: str | None = None
        try:
            knowledge = read(path)
            board = knowledge.record.board
            knowledge.check(network, size, key)
            reason = "it is of this board itself" if board == own_name else _nothing_new(knowledge, versions)
        except LightclError as error:
            ignored.append(Ignored(path, board, str(error), error))
            continue
        if reason is not None:
            ignored.append(Ignored(path, board, reason))
            continue
        if board in newest:
            ignored.append(Ignored(path, board, f"there is version {knowledge.record.version} of it as well"))
        newest[board] = knowledge
        versions[board] = BoardVersion(knowledge.record.version, knowledge.record.digest)
    found = [newest[board] for board in sorted(newest)]
    boards = [each for each in found if isinstance(each, Knowledge)]
    return Arrivals(boards, [each for each in found if isinstance(each, PoolFile)], ignored)


def is_older(file: Knowledge | PoolFile, name: str, erased: Mapping[str, int]) -> bool:
    """Whether what a file says of a class was taught before an erasure that it did not know of."""
    return file.record.erased.get(class_hash(name), 0) < erased.get(class_hash(name), 0)


def _nothing_new(knowledge: Knowledge | PoolFile, versions: Mapping[str, BoardVersion]) -> str | None:
    """Why a file tells nothing new; None when it does. DataError when two files contradict each other."""
    record = knowledge.record
    have = versions.get(record.board)
    if have is None or have.version < record.version:
        return None
    if have.version == record.version and have.digest != record.digest:
        raise DataError(
            f"its version {record.version} of board {record.board} differs from the one that is known; two boards have "
            "one name, or the file was made up: give one of the boards another name"
        )
    return f"version {have.version} of board {record.board} is here already, found version {record.version}"


def not_erased(knowledge: Knowledge, erased: Mapping[str, int]) -> Mapping[str, KnownSums]:
    """What a board taught since the last erasure of each class."""
    return {name: known for name, known in knowledge.classes.items() if not is_older(knowledge, name, erased)}
