"""Samples that are never trained on, so that a new head can be judged by them."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lightcl_edge.data.class_sums import HalfArray
from lightcl_edge.files.tensors import IntArray, Tensors, distinct

#: Share of each class that is held out, and the most samples of a class.
HOLDOUT_SHARE, HOLDOUT_PER_CLASS = 0.1, 20
#: Nothing is held out of a class with fewer images than this.
HOLDOUT_MINIMUM = 5


@dataclass(frozen=True)
class Holdout:
    """Held-out features of all classes so far."""

    features: NDArray[np.uint8]  # shape (n, *feature_shape)
    labels: IntArray  # rows of the classifier, shape (n,)
    taps: HalfArray  # of the exported head, shape (n, tap_size): a classifier in closed form is judged without the head

    @classmethod
    def from_tensors(cls, tensors: Tensors, shape: tuple[int, ...], tap_size: int) -> Holdout:
        """Read ``holdout.safetensors``; no tensors give an empty holdout."""
        if not tensors:
            empty = np.empty((0, tap_size), np.float16)
            return cls(np.empty((0, *shape), np.uint8), np.empty(0, np.int64), empty)
        return cls(
            tensors["features"].astype(np.uint8, copy=False),
            tensors["labels"].astype(np.int64, copy=False),
            tensors["taps"].astype(np.float16, copy=False),
        )

    def tensors(self) -> dict[str, NDArray[np.generic]]:
        """The content of ``holdout.safetensors``."""
        return {"features": self.features, "labels": self.labels, "taps": self.taps}

    def extended(self, more: Holdout) -> Holdout:
        """With new samples and without copies. Of each class the newest ``HOLDOUT_PER_CLASS`` samples stay."""
        if not len(more.labels):
            return self
        joined, rows = np.concatenate([self.features, more.features]), np.concatenate([self.labels, more.labels])
        newest: list[int] = []
        counts, seen = Counter[int](), set[tuple[int, bytes]]()
        for position in range(len(rows) - 1, -1, -1):
            row = int(rows[position])
            sample = row, hashlib.sha256(joined[position].tobytes()).digest()
            if sample not in seen and counts[row] < HOLDOUT_PER_CLASS:
                seen.add(sample)
                counts[row] += 1
                newest.append(position)
        keep = np.array(newest[::-1], np.int64)
        return Holdout(joined[keep], rows[keep], np.concatenate([self.taps, more.taps])[keep])

    def forget(self, row: int) -> Holdout:
        """Without the class of a row. The rows above it move one down."""
        keep = self.labels != row
        labels = self.labels[keep]
        return Holdout(self.features[keep], labels - (labels > row), self.taps[keep])


def split_holdout(labels: IntArray, marks: NDArray[np.uint64]) -> tuple[IntArray, IntArray]:
    """Positions to train on and to hold out, each ascending; copies of a held-out image are in neither.

    An image may be taught again: it must not be trained on if it was held out before, nor the other way round. So the
    images with the lowest ``marks`` (of :class:`lightcl_edge.data.dataset.DatasetIdentity`) are held out.
    """
    trained, held = [], [np.empty(0, np.int64)]
    for row in distinct(labels):
        members = np.flatnonzero(labels == row)
        different, first = np.unique(marks[members], return_index=True)
        low = int((different < HOLDOUT_SHARE * 2.0**64).sum())
        fair = min(HOLDOUT_PER_CLASS, max(1, low), len(different) // 2)
        count = fair if len(members) >= HOLDOUT_MINIMUM else 0
        held.append(members[first[:count]])
        trained.append(members[marks[members] > different[count - 1]] if count else members)
    return np.sort(np.concatenate(trained)), np.sort(np.concatenate(held))
