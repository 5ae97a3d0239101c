"""What all classes have taught: the sums of each under its name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from lightcl_edge.data.class_sums import SAMPLE_BLOCK, ClassSums, add_products, complete, triangle_size
from lightcl_edge.data.shared_sums import KnownSums, Pool, SharedSums, by_board
from lightcl_edge.errors import DataError
from lightcl_edge.files.tensors import DoubleArray, FloatArray, IntArray


@dataclass(frozen=True)
class BoardVersion:
    """Which knowledge of another board is in the sums."""

    version: int
    digest: str  # SHA-256 of what it shared


@dataclass(frozen=True)
class Pooled:
    """Sums of several classes together, as the closed-form classifiers need them."""

    counts: IntArray  # samples of each class, shape (k,); 0 for a class that has taught nothing
    means: DoubleArray  # shape (k, size); zero where the count is 0
    scatter: DoubleArray  # of all samples around their own class's mean, shape (size, size)

    @cached_property
    def samples(self) -> int:
        """How many samples the scatter is of."""
        return int(self.counts.sum())

    def joined(self, row: int, more: ClassSums) -> Pooled:
        """With more samples of the class in a row, or of a new class in the row after the last.

        The scatter is added to in place. As when classes are joined (Chan, Golub and LeVeque 1979), it grows by that of
        the new samples and by ``n m / (n + m)`` times the squared difference of both means.
        """
        new = row == len(self.counts)
        counts = np.append(self.counts, 0) if new else self.counts.copy()
        means = np.concatenate([self.means, np.zeros((1, self.means.shape[1]))]) if new else self.means.copy()
        before, together = int(counts[row]), int(counts[row]) + more.count
        apart = more.mean - means[row]
        scatter = self.scatter
        if more.count > 1:  # a single sample lies at its mean
            scatter += more.scatter()
        scatter += (before * more.count / together) * np.outer(apart, apart)
        counts[row], means[row] = together, means[row] + apart * (more.count / together)
        return Pooled(counts, means, scatter)


@dataclass(frozen=True)
class Sums:
    """Sums over taps of ``size`` numbers by class. Never changed: each operation gives new sums.

    A class's sums depend on its own samples only, so a class can be taken out as if it had never been there.

    Attributes:
        size: numbers in a sample.
        classes: by name what this board and others taught of it.
        boards: the newest knowledge of each other board that was taken in, pools among them.
        pools: what only pools have, by their name.
    """

    size: int
    classes: Mapping[str, KnownSums] = field(default_factory=dict)
    boards: Mapping[str, BoardVersion] = field(default_factory=dict)
    pools: Mapping[str, Pool] = field(default_factory=dict)

    @property
    def counts(self) -> dict[str, int]:
        """How many samples each class has taught; nothing is read for it."""
        return {name: known.count for name, known in self.classes.items()}

    @property
    def own(self) -> dict[str, KnownSums]:
        """What this board taught itself, by class."""
        parts = ((name, by_board(known).own) for name, known in self.classes.items())
        return {name: own for name, own in parts if own is not None}

    def of_board(self, board: str) -> dict[str, KnownSums]:
        """What came from another board, by class."""
        parts = ((name, by_board(known).others.get(board)) for name, known in self.classes.items())
        return {name: part for name, part in parts if part is not None}

    def add(self, name: str, taps: FloatArray, board: str | None = None) -> Sums:
        """With more samples of a class, shape ``(n, size)``. DataError when one is not finite or of another size.

        They are this board's own, unless another ``board`` is named.
        """
        return self._with(name, ClassSums.of(taps), board) if len(taps) else self

    def merge(self, other: Sums) -> Sums:
        """With all that others have taught, by other samples, as this board's own.

        DataError when theirs are of another size.
        """
        joined = self
        for name, known in other.classes.items():
            joined = joined._with(name, known.read())
        return joined

    def replace_board(
        self,
        board: str,
        version: BoardVersion,
        taught: Mapping[str, KnownSums],
        pool: Pool | None = None,
        instead_of: Iterable[str] = (),
    ) -> Sums:
        """With newer knowledge of another board, or of a pool, in place of what came from it before.

        A pool also takes the place of the boards that it counts, and of older pools.
        """
        gone = {board, *(pool.boards if pool else ()), *instead_of}
        found: dict[str, KnownSums] = {}
        for name in [*self.classes, *(name for name in taught if name not in self.classes)]:
            parts = by_board(self.classes.get(name))
            others = {each: part for each, part in parts.others.items() if each not in gone}
            if name in taught:
                others[board] = taught[name]
            if others:
                found[name] = SharedSums(parts.own, others)
            elif parts.own is not None:
                found[name] = parts.own
        boards = {each: known for each, known in self.boards.items() if each not in gone} | {board: version}
        pools = {each: known for each, known in self.pools.items() if each not in gone}
        return replace(self, classes=found, boards=boards, pools=pools | ({board: pool} if pool else {}))

    def without_pool(self, pool: str) -> Sums:
        """Without a pool, as before it was taken in; what else is known of its classes stays."""
        left = self.replace_board(pool, BoardVersion(0, ""), {})
        return replace(left, boards={each: known for each, known in left.boards.items() if each != pool})

    def forget(self, name: str) -> Sums:
        """Without a class, whoever taught it."""
        left = replace(self, classes={each: known for each, known in self.classes.items() if each != name})
        return replace(left, pools={pool: known for pool, known in self.pools.items() if left.of_board(pool)})

    def rename(self, name: str, new: str) -> Sums:
        """With another name for a class."""
        return replace(self, classes={new if each == name else each: known for each, known in self.classes.items()})

    def _with(self, name: str, more: ClassSums, board: str | None = None) -> Sums:
        if more.size != self.size:
            raise DataError(f"a sample has {more.size} taps, expected {self.size}, as this bundle's head gives")
        parts = by_board(self.classes.get(name))
        known = parts.own if board is None else parts.others.get(board)
        joined = more if known is None else known.read().merge(more)
        if board is not None:
            parts = SharedSums(parts.own, {**parts.others, board: joined})
        else:
            parts = SharedSums(joined, parts.others)
        return replace(self, classes={**self.classes, name: parts if parts.others else joined})

    def pooled(self, classes: Sequence[str]) -> Pooled:
        """The sums of these classes together, in this order. One part of a class at a time is in memory."""
        counts, means = np.zeros(len(classes), np.int64), np.zeros((len(classes), self.size))
        scatter = _Scatter(self.size)
        for row, name in enumerate(classes):
            for part in by_board(self.classes.get(name)).parts():
                sums, before = part.read(), int(counts[row])
                counts[row] += sums.count
                scatter.add(sums)
                apart = sums.mean - means[row]
                means[row] += apart * (sums.count / counts[row])
                if before:  # as when classes are joined, see Pooled.joined
                    scatter.add_row(apart * np.sqrt(before * sums.count / counts[row]))
        for board, pool in self.pools.items():
            parts = self.of_board(board)
            left = sum(parts[name].count for name in classes if name in parts)
            scatter.add_triangle(pool.scatter.read() * np.float32(left / pool.images))
        return Pooled(counts, means, scatter.matrix())


class _Scatter:
    """Adds up the scatter of classes. Samples of several classes are multiplied together: that is much faster."""

    def __init__(self, size: int) -> None:
        self._square, self._triangle = np.zeros((size, size)), np.zeros(triangle_size(size))
        self._rows, self._used = np.empty((SAMPLE_BLOCK, size), np.float32), 0

    def add(self, sums: ClassSums) -> None:
        if len(sums.triangle):
            self.add_triangle(sums.triangle)
        mean, done = sums.mean.astype(np.float32), 0
        while done < len(sums.values):
            if self._used == SAMPLE_BLOCK:
                self._multiply()
            place = self._rows[self._used : self._used + len(sums.values) - done]
            np.subtract(sums.values[done : done + len(place)], mean, out=place)
            self._used, done = self._used + len(place), done + len(place)

    def add_row(self, row: DoubleArray) -> None:
        """Add the product of a row with itself."""
        if self._used == SAMPLE_BLOCK:
            self._multiply()
        self._rows[self._used] = row
        self._used += 1

    def add_triangle(self, triangle: FloatArray) -> None:
        """Add an upper triangle, row by row."""
        self._triangle += triangle

    def _multiply(self) -> None:
        add_products(self._square, self._rows[: self._used])
        self._used = 0

    def matrix(self) -> DoubleArray:
        """The sum, shape ``(size, size)``; nothing can be added afterwards."""
        self._multiply()
        complete(self._square, self._triangle)
        return self._square
