"""What of all that arrived a board takes in: pools beside each other and beside boards, and its own part in them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from lightcl_edge.data.class_sums import ClassSums
from lightcl_edge.data.shared_sums import KnownSums, Pool
from lightcl_edge.data.sums import BoardVersion, Sums
from lightcl_edge.errors import DataError, LightclError
from lightcl_edge.fleet.arrivals import Arrivals, Ignored, is_older, not_erased
from lightcl_edge.fleet.kept import Kept
from lightcl_edge.fleet.knowledge import Knowledge
from lightcl_edge.fleet.moments import Moments
from lightcl_edge.fleet.pool import PoolFile
from lightcl_edge.state.board import MOST_ERASED_BY_OTHERS, all_erased
from lightcl_edge.state.sums_files import class_hash


@dataclass(frozen=True)
class Me:
    """The board that reads.

    Attributes:
        sums: as its state has them, and ``erased`` how often each class was erased, by the hash of its name.
        version: that its own sums are; 0 when they were not shared since they changed.
        kept: what it shared before.
    """

    name: str
    sums: Sums
    erased: Mapping[str, int]
    version: int
    kept: Kept


@dataclass(frozen=True)
class Others:
    """What a pool tells a board: what the other boards taught.

    Attributes:
        instead_of: names of older pools whose boards this one counts too.
    """

    taught: Mapping[str, ClassSums]
    pool: Pool
    instead_of: Sequence[str] = ()


@dataclass(frozen=True)
class Sifted:
    """What is taken in, and what is not.

    Attributes:
        boards: newest files of boards; ``pools`` the same of pools, with what each tells.
        erased: how often each class was erased, as all files that are not refused know it.
    """

    boards: Sequence[Knowledge]
    pools: Sequence[tuple[PoolFile, Others]]
    ignored: Sequence[Ignored]
    erased: Mapping[str, int] = field(default_factory=dict)

    @property
    def taken(self) -> list[Knowledge | PoolFile]:
        """The files of both kinds."""
        return [*self.boards, *(file for file, _ in self.pools)]


def sift(arrivals: Arrivals, me: Me) -> Sifted:
    """Without the pools that can't be taken in, and without boards that a pool counts already."""
    ignored = list(arrivals.ignored)
    told: dict[str, tuple[PoolFile, Others | None]] = {}
    for pool in arrivals.pools:
        try:
            others = _others(pool, me)
        except LightclError as error:
            ignored.append(Ignored(pool.path, pool.record.board, str(error), error))
            continue
        told[pool.record.board] = pool, others
    boards, erased = [], dict(me.erased)
    for file in [*arrivals.boards, *(pool for pool, _ in told.values())]:
        more = all_erased(erased, file.record.erased)
        if len(more) > MOST_ERASED_BY_OTHERS:
            fault = DataError(f"with it more than {MOST_ERASED_BY_OTHERS:,} classes are erased; no fleet has so many")
            ignored.append(Ignored(file.path, file.record.board, str(fault), fault))
            told.pop(file.record.board, None)
            continue
        erased = more
        boards += [file] if isinstance(file, Knowledge) else []
    counted: dict[str, Mapping[str, int]] = {name: pool.boards for name, pool in me.sums.pools.items()}
    pools = []
    for name, (pool, others) in told.items():
        reason, instead_of = _beside(pool, me, erased, counted) if others else (_not_at_hand(pool, me), [])
        if reason is not None or others is None:
            ignored.append(Ignored(pool.path, name, str(reason)))
            continue
        counted = {each: boards for each, boards in counted.items() if each not in instead_of}
        counted[name] = pool.record.counted
        pools.append((pool, Others(others.taught, others.pool, instead_of)))
    free = []
    for board in boards:
        pool_name = next((name for name in counted if board.record.board in counted[name]), None)
        if pool_name is None:
            free.append(board)
        else:
            ignored.append(Ignored(board.path, board.record.board, f"{pool_name} counts this board already"))
    return Sifted(free, pools, ignored, erased)


def _others(pool: PoolFile, me: Me) -> Others | None:
    """What the other boards taught; None where the version that the pool counts of this one is not at hand.

    Raises:
        DataError: when the pool does not hold what this board taught.
    """
    counts = pool.record.counted.get(me.name)
    own: Mapping[str, KnownSums] = {}
    if counts is not None and counts == me.version:
        erased = pool.record.erased
        own = {name: sums for name, sums in me.sums.own.items() if not _erased_since(name, me.erased, erased)}
    elif counts is not None:
        kept = me.kept.read(counts)
        if kept is None:
            return None
        own = not_erased(kept, pool.record.erased)
    return Others(*pool.without(Moments.of(own, me.sums.size)))


def _erased_since(name: str, before: Mapping[str, int], after: Mapping[str, int]) -> bool:
    return after.get(class_hash(name), 0) > before.get(class_hash(name), 0)


def _not_at_hand(pool: PoolFile, me: Me) -> str:
    return (
        f"it counts version {pool.record.counted[me.name]} of this board, which is not at hand; the next one will fit"
    )


def _beside(
    pool: PoolFile, me: Me, erased: Mapping[str, int], counted: Mapping[str, Mapping[str, int]]
) -> tuple[str | None, list[str]]:
    """Why a pool can't stand beside what is known, or the pools whose place it takes."""
    record = pool.record
    if older := [name for name in record.images if is_older(pool, name, erased)]:
        return f"it was made before {older[0]!r} was erased; the next one comes without it", []
    instead_of = []
    for other, boards in counted.items():
        shared = set(boards) & set(record.counted) - {me.name}
        if not shared or other == record.board:
            continue
        if any(record.counted.get(board, 0) < version for board, version in boards.items() if board != me.name):
            return f"boards that it counts are in {other}, which is here already", []
        instead_of.append(other)
    return None, instead_of


def joined(sums: Sums, sifted: Sifted, erased: Mapping[str, int]) -> Sums:
    """The sums with the knowledge of other boards and pools in place of what they taught before.

    What a board taught before an erasure that it did not know of is left out. ``sums`` must hold nothing that was
    taught before those of ``erased``, which are all that are known.
    """
    for file in sifted.boards:
        version = BoardVersion(file.record.version, file.record.digest)
        sums = sums.replace_board(file.record.board, version, not_erased(file, erased))
    for pool, others in sifted.pools:
        version = BoardVersion(pool.record.version, pool.record.digest)
        sums = sums.replace_board(pool.record.board, version, others.taught, others.pool, others.instead_of)
    return sums
