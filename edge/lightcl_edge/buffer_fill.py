"""How new samples enter a feature buffer: reservoir sampling or herding, then every class shrinks to its share."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from lightcl_edge.errors import UsageError
from lightcl_edge.feature_buffer import FILLS, ByteArray, FeatureBuffer, IntArray, quotas

FloatArray = NDArray[np.float64]


def fill(
    buffer: FeatureBuffer,
    features: ByteArray,
    labels: IntArray,
    limit: int,
    rng: np.random.Generator,
    kind: str = "reservoir",
) -> FeatureBuffer:
    """The buffer after a task's samples were offered.

    Args:
        buffer: before.
        features: uint8, shape ``(n, *feature_shape)``.
        labels: rows of the classifier, shape ``(n,)``.
        limit: samples it may hold.
        rng: draws the ranks of the reservoir.
        kind: ``reservoir`` or ``herding``.

    Returns:
        The buffer, at most ``limit`` samples.

    Raises:
        UsageError: when there is no such kind.
    """
    if kind not in FILLS:
        raise UsageError(f"no way to fill a buffer is called {kind!r}, expected one of {', '.join(FILLS)}")
    joined = replace(
        buffer,
        features=np.concatenate([buffer.features, features]),
        labels=np.concatenate([buffer.labels, labels]),
        ranks=np.concatenate([buffer.ranks, rng.random(len(labels))]),
        seen=_grown(buffer.seen, labels),
    )
    if kind == "herding":
        joined = replace(joined, ranks=_herded(joined, len(buffer), buffer.seen))
    return shrink(joined, limit)


def shrink(buffer: FeatureBuffer, limit: int) -> FeatureBuffer:
    """The buffer with at most ``limit`` samples: of each class those with the smallest ranks.

    Args:
        buffer: any.
        limit: samples it may hold.

    Returns:
        The smaller buffer, ordered by class and rank.
    """
    granted = quotas(np.bincount(buffer.labels, minlength=len(buffer.seen)), limit)
    order = np.lexsort((buffer.ranks, buffer.labels))
    sorted_labels = buffer.labels[order]
    place = np.arange(len(order)) - np.searchsorted(sorted_labels, sorted_labels)
    keep = order[place < granted[sorted_labels]]
    return replace(buffer, features=buffer.features[keep], labels=buffer.labels[keep], ranks=buffer.ranks[keep])


def _grown(seen: IntArray, labels: IntArray) -> IntArray:
    rows = max(len(seen), int(labels.max()) + 1 if len(labels) else 0)
    return np.pad(seen, (0, rows - len(seen))) + np.bincount(labels, minlength=rows)


def _herded(joined: FeatureBuffer, stored: int, seen_before: IntArray) -> FloatArray:
    """Ranks of the classes that got new samples, in herding order; the others keep theirs."""
    ranks = joined.ranks.copy()
    for row in np.unique(joined.labels[stored:]):
        members = np.flatnonzero(joined.labels == row)
        points = _pooled(joined.features[members])
        old = members < stored
        weights = np.ones(len(members))
        if old.any():  # the stored ones stand for all that their class had shown before
            weights[old] = seen_before[row] / old.sum()
        ranks[members[_herding_order(points, np.average(points, axis=0, weights=weights))]] = np.arange(len(members))
    return ranks


def _pooled(features: ByteArray) -> FloatArray:
    """Features averaged over space and brought to length 1, shape ``(n, channels)``."""
    flat = features.reshape(len(features), features.shape[1] if features.ndim > 1 else 1, -1).mean(axis=2)
    flat = flat - flat.mean(axis=0)
    lengths = np.linalg.norm(flat, axis=1, keepdims=True)
    return np.asarray(flat / np.where(lengths > 0, lengths, 1.0))


def _herding_order(points: FloatArray, target: FloatArray) -> IntArray:
    """Greedy order in which the running mean stays nearest to ``target`` (iCaRL, algorithm 4)."""
    left = np.ones(len(points), bool)
    total, order = np.zeros_like(target), np.empty(len(points), np.int64)
    squares = np.square(points).sum(axis=1)
    for place in range(len(points)):
        wanted = (place + 1) * target - total
        distance = squares - 2 * points @ wanted
        distance[~left] = np.inf
        order[place] = int(distance.argmin())
        left[order[place]] = False
        total += points[order[place]]
    return order
