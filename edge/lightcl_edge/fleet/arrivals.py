"""What arrives at a board: which files are taken in, which are passed over, and which are refused."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from lightcl_edge.data.shared_sums import KnownSums
from lightcl_edge.data.sums import BoardVersion, Sums
from lightcl_edge.errors import DataError, LightclError
from lightcl_edge.fleet.knowledge import Knowledge
from lightcl_edge.fleet.moments import Moments
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
class Me:
    """The board that reads.

    Attributes:
        version: that its own sums are; 0 when they were not shared since they changed.
        files: of its own that arrived, by their version: they say what a pool counts of it.
    """

    name: str
    version: int = 0
    files: Mapping[int, Knowledge] = field(default_factory=dict)


@dataclass(frozen=True)
class Arrivals:
    """Files of other boards, sorted out.

    Attributes:
        taken: the newest of each board and pool.
        erased: how often each class was erased, by the hash of its name, as all that is taken knows it.
    """

    taken: Sequence[Knowledge | PoolFile]
    ignored: Sequence[Ignored]
    me: Me
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
        own_name: of this board.
        known: the boards whose knowledge this one has.
        network: hash of the network, ``size`` of its taps, and ``key`` that must have signed: as ``Knowledge.check``.
    """
    newest: dict[str, Knowledge | PoolFile] = {}
    own: dict[int, Knowledge] = {}
    ignored: list[Ignored] = []
    versions = dict(known)
    for path in paths:
        board: str | None = None
        try:
            knowledge = open_shared(path)
            board = knowledge.record.board
            knowledge.check(network, size, key)
            if board == own_name and isinstance(knowledge, Knowledge):
                own[knowledge.record.version] = knowledge
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
    return Arrivals(
        [newest[board] for board in sorted(newest)], ignored, Me(own_name, 0, own), _erasures(newest.values())
    )


def sifted(arrivals: Arrivals, sums: Sums, erased: Mapping[str, int], own_version: int) -> Arrivals:
    """Without the pools that can't be taken in, and without boards that a pool counts already.

    Args:
        sums: of this board before, and ``erased``, as its state knows them.
        own_version: as in :class:`Me`.
    """
    me, ignored = replace(arrivals.me, version=own_version), list(arrivals.ignored)
    erased = {key: max(erased.get(key, 0), arrivals.erased.get(key, 0)) for key in {*erased, *arrivals.erased}}
    counted = {name: set(pool.boards) for name, pool in sums.pools.items()}
    for each in arrivals.taken:
        if isinstance(each, PoolFile):
            counted.pop(each.record.board, None)
    taken: list[Knowledge | PoolFile] = []
    for pool in (each for each in arrivals.taken if isinstance(each, PoolFile)):
        name, boards = pool.record.board, set(pool.record.counted)
        mine = pool.record.counted.get(me.name, own_version)
        older = [each for each in pool.record.images if _older(pool, each, erased)]
        twice = next((other for other in counted if counted[other] & boards - {me.name}), None)
        if older:
            reason = f"it was made before {older[0]!r} was erased; the next one comes without it"
        elif mine not in (own_version, *me.files):
            reason = f"it counts version {mine} of this board, which is not at hand; the next one will fit"
        elif twice:
            reason = f"boards that it counts are in {twice}, which is here already"
        else:
            counted[name] = boards
            taken.append(pool)
            continue
        ignored.append(Ignored(pool.path, name, reason))
    for board in (each for each in arrivals.taken if isinstance(each, Knowledge)):
        pool_name = next((name for name in counted if board.record.board in counted[name]), None)
        if pool_name is None:
            taken.append(board)
        else:
            ignored.append(Ignored(board.path, board.record.board, f"{pool_name} counts this board already"))
    return Arrivals(taken, ignored, me, _erasures(taken))


def _older(file: Knowledge | PoolFile, name: str, erased: Mapping[str, int]) -> bool:
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


def _erasures(taken: Iterable[Knowledge | PoolFile]) -> dict[str, int]:
    found: dict[str, int] = {}
    for knowledge in taken:
        for key, count in knowledge.record.erased.items():
            found[key] = max(count, found.get(key, 0))
    return found


def joined(sums: Sums, arrivals: Arrivals, erased: Mapping[str, int]) -> Sums:
    """The sums with the knowledge of other boards and pools in place of what they taught before.

    What a board taught before an erasure that it did not know of is left out. ``sums`` must hold nothing that was
    taught before those of ``erased``, which are all that are known.

    Raises:
        DataError: when a pool does not hold what this board taught.
    """
    me = arrivals.me
    for each in arrivals.taken:
        record = each.record
        version = BoardVersion(record.version, record.digest)
        if isinstance(each, Knowledge):
            sums = sums.replace_board(record.board, version, not_erased(each, erased))
            continue
        counts = each.record.counted.get(me.name)
        own: Mapping[str, KnownSums] = {}
        if counts is not None:
            own = sums.own if counts == me.version else not_erased(me.files[counts], record.erased)
        sums = sums.replace_board(record.board, version, *each.without(Moments.of(own, sums.size)))
    return sums


def not_erased(knowledge: Knowledge, erased: Mapping[str, int]) -> Mapping[str, KnownSums]:
    """What a board taught since the last erasure of each class."""
    return {name: known for name, known in knowledge.classes.items() if not _older(knowledge, name, erased)}
