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

    def _with(self, name: str, more: ClassSums) -> Sums:
        if more.size != self.size:
            raise DataError(f"a sample has {more.size} taps, expected {self.size}, as this bundle's head gives")
        known = self.classes.get(name)
        return replace(self, classes={**self.classes, name: more if known is None else known.read().merge(more)})

    def pooled(self, classes: Sequence[str]) -> Pooled:
        """The sums of these classes together, in this order. One class at a time is in memory."""
        counts, means = np.zeros(len(classes), np.int64), np.zeros((len(classes), self.size))
        square, triangle = np.zeros((self.size, self.size)), np.zeros(triangle_size(self.size))
        rows: list[FloatArray] = []  # of classes with few samples: multiplied together in float32, which is faster
        for place, name in enumerate(classes):
            if name not in self.classes:
                continue
            sums = self.classes[name].read()
            counts[place], means[place] = sums.count, sums.mean
            if not len(sums.values):
                triangle += sums.triangle
            elif sums.count > 1:
                rows.append((sums.values - sums.mean).astype(np.float32))
            if sum(map(len, rows)) >= SAMPLE_BLOCK:
                add_products(square, np.concatenate(rows))
                rows.clear()
        if rows:
            add_products(square, np.concatenate(rows))
        complete(square, triangle)
        return Pooled(counts, means, square)
