"""Samples that are never trained on, so that a new head can be judged by them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lightcl_edge.data.class_sums import HalfArray
from lightcl_edge.files.tensors import IntArray, Tensors, distinct

#: Share of a class's images in a task that is held out, and the most samples of a class.
HOLDOUT_SHARE, HOLDOUT_PER_CLASS = 0.1, 20
#: Nothing is held out of a class with fewer images than this.
HOLDOUT_MINIMUM = 5


@dataclass(frozen=True)
class Holdout:
    """Held-out features of all classes so far."""

    features: NDArray[np.uint8]  # shape (n, *feature_shape)
    labels: IntArray  # rows of the classifier, shape (n,)
    taps: HalfArray  # of the exported head, shape (n, tap_size): a classifier in closed form is judged without the head
    marks: NDArray[np.uint64]  # of the images' contents, shape (n,): which image it is when it comes again

    @classmethod
    def from_tensors(cls, tensors: Tensors, shape: tuple[int, ...], tap_size: int) -> Holdout:
        """Read ``holdout.safetensors``; no tensors give an empty holdout."""
        if not tensors:
            empty = np.empty((0, tap_size), np.float16)
            return cls(np.empty((0, *shape), np.uint8), np.empty(0, np.int64), empty, np.empty(0, np.uint64))
        return cls(
            tensors["features"].astype(np.uint8, copy=False),
            tensors["labels"].astype(np.int64, copy=False),
            tensors["taps"].astype(np.float16, copy=False),
            tensors["marks"].view(np.uint64),
        )

    def tensors(self) -> dict[str, NDArray[np.generic]]:
        """The content of ``holdout.safetensors``; the marks are there as int64, bit for bit."""
        return {
            "features": self.features,
            "labels": self.labels,
            "taps": self.taps,
            "marks": self.marks.view(np.int64),
        }

    def extended(self, more: Holdout) -> Holdout:
        """With new samples and without copies. Of each class the newest ``HOLDOUT_PER_CLASS`` samples stay."""
        if not len(more.labels):
            return self
        rows, marks = np.concatenate([self.labels, more.labels]), np.concatenate([self.marks, more.marks])
        newest: list[int] = []
        counts, seen = Counter[int](), set[tuple[int, int]]()
        for position in range(len(rows) - 1, -1, -1):
            sample = row, _ = int(rows[position]), int(marks[position])
            if sample not in seen and counts[row] < HOLDOUT_PER_CLASS:
                seen.add(sample)
                counts[row] += 1
                newest.append(position)
        keep = np.array(newest[::-1], np.int64)
        features, taps = np.concatenate([self.features, more.features]), np.concatenate([self.taps, more.taps])
        return Holdout(features[keep], rows[keep], taps[keep], marks[keep])

    def forget(self, row: int) -> Holdout:
        """Without the class of a row. The rows above it move one down."""
        keep = self.labels != row
        labels = self.labels[keep]
        return Holdout(self.features[keep], labels - (labels > row), self.taps[keep], self.marks[keep])

    def lacks(self, more: Holdout) -> NDArray[np.bool_]:
        """Which of other samples it does not hold, shape ``(n,)``."""
        mine = set(zip(self.labels.tolist(), self.marks.tolist(), strict=True))
        found = [each not in mine for each in zip(more.labels.tolist(), more.marks.tolist(), strict=True)]
        return np.array(found, np.bool_)

    def marks_of(self, row: int) -> set[int]:
        """Which images of a class are held out."""
        return set(self.marks[self.labels == row].tolist())


def split_holdout(labels: IntArray, marks: NDArray[np.uint64], before: Holdout) -> tuple[IntArray, IntArray]:
    """Positions to train on and to hold out, each ascending; copies of a held-out image are in neither.

    Of a class's different images those with the lowest ``marks`` (of
    :class:`lightcl_edge.data.dataset.DatasetIdentity`) are held out, a tenth to the nearest whole number, whatever
    their order. An image may be taught again: it must not be trained on if it was held out ``before``, nor the other
    way round, or it flatters the classifier. So images that the state holds out are held out again, and beside them
    only those with lower marks, which were held out too if they were taught with them. Nobody can tell when
    earlier training images come again without any that was held out.
    """
    trained, held = [], [np.empty(0, np.int64)]
    for row in distinct(labels):
        members = np.flatnonzero(labels == row)
        different, first = np.unique(marks[members], return_index=True)
        chosen = _chosen(different.tolist(), before.marks_of(row)) if len(members) >= HOLDOUT_MINIMUM else set()
        held.append(members[first[[mark in chosen for mark in different.tolist()]]])
        trained.append(members[[mark not in chosen for mark in marks[members].tolist()]])
    return np.sort(np.concatenate(trained)), np.sort(np.concatenate(held))


def _chosen(marks: list[int], before: set[int]) -> set[int]:
    """Which of a class's different images are held out; ``marks`` ascend."""
    most = min(HOLDOUT_PER_CLASS, len(marks) // 2)
    fair = min(most, max(1, int(HOLDOUT_SHARE * len(marks) + 0.5)))
    again = [mark for mark in marks if mark in before][:most]
    others = [mark for mark in marks if mark not in before and (not again or mark < again[-1])]
    return {*again, *others[: max(0, fair - len(again))]}
