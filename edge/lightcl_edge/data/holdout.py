"""Samples kept out of training."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lightcl_edge.files.tensors import IntArray

#: Share of each class that is kept out of training, and the most samples of a class to keep.
HOLDOUT_SHARE, HOLDOUT_PER_CLASS = 0.1, 20


#: A class with fewer images than this gives none away.
HOLDOUT_MINIMUM = 5


@dataclass(frozen=True)
class Holdout:
    """Held-out features of all classes so far.

    Attributes:
        features: uint8, shape ``(n, *feature_shape)``.
        labels: rows of the classifier, shape ``(n,)``.
    """

    features: NDArray[np.uint8]
    labels: IntArray

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, NDArray[np.generic]], shape: tuple[int, ...]) -> Holdout:
        """Read what a generation holds; nothing gives an empty one."""
        if not tensors:
            return cls(np.empty((0, *shape), np.uint8), np.empty(0, np.int64))
        return cls(tensors["features"].astype(np.uint8, copy=False), tensors["labels"].astype(np.int64, copy=False))

    def tensors(self) -> dict[str, NDArray[np.generic]]:
        """What to keep in a generation."""
        return {"features": self.features, "labels": self.labels}

    def extended(self, features: NDArray[np.uint8], labels: IntArray) -> Holdout:
        """With new samples, each kept once; of a class that overflows, the newest stay."""
        joined, rows = np.concatenate([self.features, features]), np.concatenate([self.labels, labels])
        kept: list[int] = []
        counts, seen = Counter[int](), set[tuple[int, bytes]]()
        for position in range(len(rows) - 1, -1, -1):
            row = int(rows[position])
            sample = row, hashlib.sha256(joined[position].tobytes()).digest()
            if sample not in seen and counts[row] < HOLDOUT_PER_CLASS:
                seen.add(sample)
                counts[row] += 1
                kept.append(position)
        keep = np.array(kept[::-1], np.int64)
        return Holdout(joined[keep], rows[keep])


def split_holdout(labels: IntArray, marks: NDArray[np.uint64]) -> tuple[IntArray, IntArray]:
    """Choose the samples to keep out of training.

    An image that is taught again must not be trained on if it was held out before, or be held out if it was trained
    on: it would be judged as if it were new. So its own mark decides, and those with the lowest are held out.

    Args:
        labels: class of each sample, shape ``(n,)``.
        marks: of each sample, evenly spread numbers that an image always has, shape ``(n,)``.

    Returns:
        Positions to train on and positions to keep out, each ascending. A copy of one that is held out is in neither.
    """
    trained, held = [], [np.empty(0, np.int64)]
    for row in np.unique(labels):
        members = np.flatnonzero(labels == row)
        different, first = np.unique(marks[members], return_index=True)
        low = int((different < HOLDOUT_SHARE * 2.0**64).sum())
        fair = min(HOLDOUT_PER_CLASS, max(1, low), len(different) // 2)
        count = fair if len(members) >= HOLDOUT_MINIMUM else 0
        held.append(members[first[:count]])
        trained.append(members[~np.isin(marks[members], different[:count])])
    return np.sort(np.concatenate(trained)), np.sort(np.concatenate(held))
