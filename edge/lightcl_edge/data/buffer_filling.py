"""How new samples enter a feature buffer. Reservoir sampling or herding ranks them; each class keeps its share."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from lightcl_edge.data.feature_buffer import FILLS, FeatureBuffer, quotas
from lightcl_edge.errors import UsageError
from lightcl_edge.files.tensors import ByteArray, DoubleArray, IntArray, distinct

Read = Callable[[IntArray], ByteArray]
_BATCH = 256


def fill(
    buffer: FeatureBuffer,
    read: Read,
    rows: IntArray,
    labels: IntArray,
    limit: int,
    rng: np.random.Generator,
    kind: str = "reservoir",
) -> FeatureBuffer:
    """Offer a task's samples to a buffer. Only those that stay are read whole.

    ``read`` gives stored features at positions. ``rows`` and ``labels`` are positions and classes of what is offered.
    Raises UsageError when there is no such ``kind``.
    """
    if kind not in FILLS:
        raise UsageError(f"no way to fill a buffer is called {kind!r}, expected one of {', '.join(FILLS)}")
    stored = len(buffer)
    all_labels = np.concatenate([buffer.labels, labels])
    ranks = np.concatenate([buffer.ranks, rng.random(len(labels))])
    if kind == "herding":
        points = np.concatenate([_pooled(buffer.features.__getitem__, np.arange(stored)), _pooled(read, rows)])
        for row in distinct(labels):
            _herd(row, points, all_labels, ranks, stored, buffer.seen)
    seen = _grown(buffer.seen, labels)
    keep = _smallest_ranks(all_labels, ranks, len(seen), limit)
    features = np.empty((len(keep), *buffer.identity.feature.shape), np.uint8)
    old = keep < stored
    features[old] = buffer.features[keep[old]]
    features[~old] = read(rows[keep[~old] - stored])
    return replace(buffer, features=features, labels=all_labels[keep], ranks=ranks[keep], seen=seen)


def _smallest_ranks(labels: IntArray, ranks: DoubleArray, rows: int, limit: int) -> IntArray:
    granted = quotas(np.bincount(labels, minlength=rows), limit)
    order = np.lexsort((ranks, labels))
    place = np.arange(len(order)) - np.searchsorted(labels[order], labels[order])
    return order[place < granted[labels[order]]]


def _grown(seen: IntArray, labels: IntArray) -> IntArray:
    rows = max(len(seen), int(labels.max()) + 1 if len(labels) else 0)
    return np.pad(seen, (0, rows - len(seen))) + np.bincount(labels, minlength=rows)


def _herd(row: int, points: DoubleArray, labels: IntArray, ranks: DoubleArray, stored: int, seen: IntArray) -> None:
    """Set the ranks of one class to the places in the herding order, in place."""
    members = np.flatnonzero(labels == row)
    old = members < stored
    weights = np.ones(len(members))
    if old.any():  # the stored samples stand for all earlier ones of their class
        weights[old] = seen[row] / old.sum()
    own = points[members]
    ranks[members[_herding_order(own, np.average(own, axis=0, weights=weights))]] = np.arange(len(members))


def _pooled(read: Read, rows: IntArray) -> DoubleArray:
    """Features averaged over space, shape ``(n, channels)``."""
    parts = [read(rows[at : at + _BATCH]) for at in range(0, len(rows), _BATCH)] or [read(rows)]
    return np.concatenate([part.reshape(*part.shape[:2], int(np.prod(part.shape[2:]))).mean(axis=2) for part in parts])


def _herding_order(points: DoubleArray, target: DoubleArray) -> IntArray:
    """Greedy order in which the running mean stays nearest to ``target`` (iCaRL, algorithm 4)."""
    left = np.ones(len(points), bool)
    total, order = np.zeros_like(target), np.empty(len(points), np.int64)
    squares = np.square(points).sum(axis=1)
    for place in range(len(points)):
        distance = squares - 2 * points @ ((place + 1) * target - total)
        distance[~left] = np.inf
        order[place] = int(distance.argmin())
        left[order[place]] = False
        total += points[order[place]]
    return order
