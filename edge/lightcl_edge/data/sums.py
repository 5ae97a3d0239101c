"""What all classes have taught: the sums of each under its name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np

from lightcl_edge.data.class_sums import SAMPLE_BLOCK, ClassSums, add_products, complete, triangle_size
from lightcl_edge.errors import DataError
from lightcl_edge.files.tensors import DoubleArray, FloatArray, IntArray


class KnownSums(Protocol):
    """The sums of a class that may still lie on the disk."""

    @property
    def count(self) -> int:
        """How many samples."""

    def read(self) -> ClassSums:
        """The sums. Each call may read them anew: 50 classes at once would take a device's memory."""


@dataclass(frozen=True)
class Pooled:
    """Sums of several classes together, as the closed-form classifiers need them."""

    counts: IntArray  # samples of each class, shape (k,); 0 for a class that has taught nothing
    means: DoubleArray  # shape (k, size); zero where the count is 0
    scatter: DoubleArray  # of all samples around their own class's mean, shape (size, size)

    @property
    def samples(self) -> int:
        """How many samples the scatter is of."""
        return int(self.counts.sum())


@dataclass(frozen=True)
class Sums:
    """Sums over taps of ``size`` numbers by class. Never changed: each operation gives new sums.

    A class's sums depend on its own samples only, so a class can be taken out as if it had never been there.
    """

    size: int
    classes: Mapping[str, KnownSums] = field(default_factory=dict)

    @property
    def counts(self) -> dict[str, int]:
        """How many samples each class has taught; nothing is read for it."""
        return {name: known.count for name, known in self.classes.items()}

    def add(self, name: str, taps: FloatArray) -> Sums:
        """With more samples of a class, shape ``(n, size)``. DataError when one is not finite or of another size."""
        return self._with(name, ClassSums.of(taps)) if len(taps) else self

    def merge(self, other: Sums) -> Sums:
        """With all that others have taught, by other samples. DataError when theirs are of another size."""
        joined = self
        for name, known in other.classes.items():
            joined = joined._with(name, known.read())
        return joined

    def forget(self, name: str) -> Sums:
        """Without a class."""
        return replace(self, classes={each: known for each, known in self.classes.items() if each != name})

    def rename(self, name: str, new: str) -> Sums:
        """With another name for a class."""
        return replace(self, classes={new if each == name else each: known for each, known in self.classes.items()})

    def _with(self, name: str, more: ClassSums) -> Sums:
        if more.size != self.size:
            raise DataError(f"a sample has {more.size} taps, expected {self.size}, as this bundle's head gives")
        known = self.classes.get(name)
        return replace(self, classes={**self.classes, name: more if known is None else known.read().merge(more)})

    def pooled(self, classes: Sequence[str]) -> Pooled:
        """The sums of these classes together, in this order. One class at a time is in memory."""
        counts, means = np.zeros(len(classes), np.int64), np.zeros((len(classes), self.size))
        scatter = _Scatter(self.size)
        for row, name in enumerate(classes):
            if name in self.classes:
                sums = self.classes[name].read()
                counts[row], means[row] = sums.count, sums.mean
                scatter.add(sums)
        return Pooled(counts, means, scatter.matrix())


class _Scatter:
    """Adds up the scatter of classes. Samples of several classes are multiplied together: that is much faster."""

    def __init__(self, size: int) -> None:
        self._square, self._triangle = np.zeros((size, size)), np.zeros(triangle_size(size))
        self._rows, self._used = np.empty((SAMPLE_BLOCK, size), np.float32), 0

    def add(self, sums: ClassSums) -> None:
        if not len(sums.values):
            self._triangle += sums.triangle
            return
        mean, done = sums.mean.astype(np.float32), 0
        while done < len(sums.values):
            if self._used == SAMPLE_BLOCK:
                self._multiply()
            place = self._rows[self._used : self._used + len(sums.values) - done]
            np.subtract(sums.values[done : done + len(place)], mean, out=place)
            self._used, done = self._used + len(place), done + len(place)

    def _multiply(self) -> None:
        add_products(self._square, self._rows[: self._used])
        self._used = 0

    def matrix(self) -> DoubleArray:
        """The sum, shape ``(size, size)``; nothing can be added afterwards."""
        self._multiply()
        complete(self._square, self._triangle)
        return self._square
