"""Taps of samples, and how they enter the sums. The engine always holds the head as exported for this.

Sums of different tasks, and of different devices, add up only if one head makes all taps.
"""

from collections.abc import Callable, Sequence

import numpy as np

from lightcl_edge.bundle.graph_names import TAPS
from lightcl_edge.data.feature_buffer import FeatureBuffer
from lightcl_edge.data.feature_store import Samples
from lightcl_edge.data.shared_sums import BUNDLE_BOARD
from lightcl_edge.data.sums import Sums
from lightcl_edge.files.tensors import FloatArray, IntArray, distinct
from lightcl_edge.learning.engines.contract import Engine
from lightcl_edge.learning.strategies.forward import FORWARD_BATCH, parts

#: Samples of a class whose taps are in memory at once.
_AT_ONCE = 256


def taps_of(engine: Engine, read: Callable[[IntArray], FloatArray], rows: IntArray, size: int) -> FloatArray:
    """Taps at positions, shape ``(len(rows), size)``; ``read`` gives features."""
    found = np.empty((len(rows), size), np.float32)
    for at, part in zip(range(0, len(rows), FORWARD_BATCH), parts(rows), strict=True):
        found[at : at + len(part)] = engine.activations(read(part), [TAPS])[TAPS]
    return found


def with_samples(sums: Sums, engine: Engine, samples: Samples, classes: Sequence[str]) -> Sums:
    """Sums with the task's samples; ``classes`` are names in row order."""
    labels = samples.labels[samples.rows]
    return _added(sums, engine, samples.read, samples.rows, labels, classes)


def with_exported_samples(sums: Sums, engine: Engine, buffer: FeatureBuffer, classes: Sequence[str]) -> Sums:
    """Sums with samples of classes that the bundle brought in its feature buffer, and that have no sums yet."""
    missing = {row for row, name in enumerate(classes) if name not in sums.classes}
    rows = np.flatnonzero([label in missing for label in buffer.labels.tolist()])  # np.isin imports masked arrays
    return _added(sums, engine, buffer.read, rows, buffer.labels[rows], classes, BUNDLE_BOARD)


def _added(
    sums: Sums,
    engine: Engine,
    read: Callable[[IntArray], FloatArray],
    rows: IntArray,
    labels: IntArray,
    classes: Sequence[str],
    board: str | None = None,
) -> Sums:
    for label in distinct(labels).tolist():
        members = rows[labels == label]
        for at in range(0, len(members), _AT_ONCE):
            taps = taps_of(engine, read, members[at : at + _AT_ONCE], sums.size)
            sums = sums.add(classes[label], taps, board)
    return sums
