"""Sums over samples that add up and can be taken away again, number by number: what a pool of boards is made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from lightcl_edge.data.shared_sums import KnownSums
from lightcl_edge.data.sums import Sums
from lightcl_edge.files.tensors import DoubleArray, FloatArray


@dataclass(frozen=True, eq=False)
class Moments:
    """Linear in the samples, unlike a scatter around means. A difference may have counts below zero.

    Attributes:
        second: sum of ``x x^T`` over the samples of all classes, shape ``(size, size)``.
        counts: samples of each class.
        totals: sum of each class's samples, shape ``(size,)``.
    """

    second: DoubleArray
    counts: Mapping[str, int] = field(default_factory=dict)
    totals: Mapping[str, DoubleArray] = field(default_factory=dict)

    @classmethod
    def none(cls, size: int) -> Moments:
        """Of no samples."""
        return cls(np.zeros((size, size)))

    @classmethod
    def of(cls, taught: Mapping[str, KnownSums], size: int) -> Moments:
        """Of the samples of some classes; each class is read once."""
        names = sorted(taught)
        pooled = Sums(size, taught).pooled(names)
        counts = dict(zip(names, pooled.counts.tolist(), strict=True))
        totals = {name: pooled.means[row] * counts[name] for row, name in enumerate(names)}
        return cls(pooled.scatter + _between(counts, totals, size), counts, totals)

    @classmethod
    def of_scatter(cls, counts: Mapping[str, int], totals: Mapping[str, DoubleArray], triangle: FloatArray) -> Moments:
        """From the upper triangle, row by row, of the scatter around the classes' means."""
        size = round((np.sqrt(8 * len(triangle) + 1) - 1) / 2)
        second = np.zeros((size, size))
        second[np.triu_indices(size)] = triangle
        second += np.triu(second, 1).T
        return cls(second + _between(counts, totals, size), counts, totals)

    @property
    def size(self) -> int:
        """Numbers in a sample."""
        return len(self.second)

    def minus(self, other: Moments) -> Moments:
        """The difference, class by class."""
        counts, totals = dict(self.counts), dict(self.totals)
        for name, count in other.counts.items():
            counts[name] = counts.get(name, 0) - count
            totals[name] = totals.get(name, np.zeros(self.size)) - other.totals[name]
        return Moments(self.second - other.second, counts, totals)

    def plus(self, other: Moments) -> Moments:
        """With the samples of others. Classes of no samples are left out.

        Raises ValueError when a class would have fewer than no samples.
        """
        counts: dict[str, int] = {}
        totals: dict[str, DoubleArray] = {}
        for name in sorted({*self.counts, *other.counts}):
            counts[name] = self.counts.get(name, 0) + other.counts.get(name, 0)
            totals[name] = self.totals.get(name, np.zeros(self.size)) + other.totals.get(name, 0.0)
        if negative := [name for name, count in counts.items() if count < 0]:
            raise ValueError(f"class {negative[0]!r} would have {counts[negative[0]]} images")
        left = [name for name, count in counts.items() if count]
        second = self.second + other.second if left else np.zeros_like(self.second)
        return Moments(second, {name: counts[name] for name in left}, {name: totals[name] for name in left})

    def triangle(self) -> FloatArray:
        """The upper triangle, row by row, of the scatter around the classes' means; no variance is below zero."""
        scatter = self.second - _between(self.counts, self.totals, self.size)
        np.fill_diagonal(scatter, np.maximum(scatter.diagonal(), 0.0))
        return scatter[np.triu_indices(self.size)].astype(np.float32)


def _between(counts: Mapping[str, int], totals: Mapping[str, DoubleArray], size: int) -> DoubleArray:
    """Sum of ``n m m^T`` over classes with n samples and mean m."""
    rows = np.array([totals[name] / np.sqrt(counts[name]) for name in counts]).reshape(-1, size)
    product: DoubleArray = rows.T @ rows
    return product
