"""What arrives at a board: which files are taken in, which are passed over, and which are refused."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lightcl_edge.data.shared_sums import KnownSums
from lightcl_edge.data.sums import BoardVersion, Sums
from lightcl_edge.errors import DataError, LightclError
from lightcl_edge.fleet.knowledge import Knowledge
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
        taken: the newest of each board.
        erased: how often each class was erased, by the hash of its name, as all of them know it.
    """

    taken: Sequence[Knowledge]
    ignored: Sequence[Ignored]
    erased: Mapping[str, int] = field(default_factory=dict)


def sort_out(
    paths: Iterable[Path],
    own_name: str,
    known: Mapping[str, BoardVersion],
    network: str,
    size: int,
    key: str | None,
) -> Arrivals:
    """Read all files and check them, in any order and repetition with the same result.

    Args:
        own_name: of this board; its own files are passed over.
        known: the boards whose knowledge this one has.
        network: hash of the network, ``size`` of its taps, and ``key`` that must have signed: as ``Knowledge.check``.
    """
    newest: dict[str, Knowledge] = {}
    ignored: list[Ignored] = []
    versions = dict(known)
    for path in paths:
        board: str | None = None
        try:
            knowledge = Knowledge(path)
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
    return Arrivals([newest[board] for board in sorted(newest)], ignored, _erasures(newest.values()))


def _nothing_new(knowledge: Knowledge, versions: Mapping[str, BoardVersion]) -> str | None:
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


def _erasures(taken: Iterable[Knowledge]) -> dict[str, int]:
    found: dict[str, int] = {}
    for knowledge in taken:
        for key, count in knowledge.record.erased.items():
            found[key] = max(count, found.get(key, 0))
    return found


def joined(sums: Sums, taken: Iterable[Knowledge], erased: Mapping[str, int]) -> Sums:
    """The sums with the knowledge of other boards in place of what they taught before.

    What a board taught before an erasure that it did not know of is left out. ``sums`` must hold nothing that was
    taught before those of ``erased``, which are all that are known.
    """
    for knowledge in taken:
        record = knowledge.record
        taught: dict[str, KnownSums] = {
            name: known
            for name, known in knowledge.classes.items()
            if record.erased.get(class_hash(name), 0) >= erased.get(class_hash(name), 0)
        }
        sums = sums.replace_board(record.board, BoardVersion(record.version, record.digest), taught)
    return sums
