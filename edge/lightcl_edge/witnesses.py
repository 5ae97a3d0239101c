"""The samples a new head is judged on: held-out ones, and where those are few also remembered or trained ones.

A device that was shown eight images of a class holds one of them out: that one alone can't tell a ruined head from bad
luck. So every class is filled up to ``WITNESSES_PER_CLASS`` with samples that the head was trained on. They flatter a
head that learned them by heart, but the old head as much as the new one, and a head that gets even them wrong is
ruined.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from lightcl_edge.data.buffer import FeatureBuffer
from lightcl_edge.data.features import FeatureCodec
from lightcl_edge.data.holdout import Holdout
from lightcl_edge.files.tensors import FloatArray, IntArray
from lightcl_edge.learning.engines.contract import Engine
from lightcl_edge.training_loop import Samples, parts

#: Classes with fewer held-out samples than this are filled up.
WITNESSES_PER_CLASS = 10


@dataclass(frozen=True)
class Witnesses:
    """Samples in one or more places; they are read a few at a time.

    Attributes:
        held_out: how many of them, the first ones, were never trained on.
        labels: rows of the classifier, shape ``(n,)``.
        places: functions that give float features at positions, and those positions, ``n`` in all.
    """

    held_out: int
    labels: IntArray
    places: Sequence[tuple[Callable[[IntArray], FloatArray], IntArray]]

    def logits(self, engine: Engine, capacity: int) -> FloatArray:
        """What the engine's present head says.

        Args:
            engine: holds the head.
            capacity: rows of its classifier.

        Returns:
            Shape ``(n, capacity)``.
        """
        found = [engine.logits(read(part)) for read, rows in self.places for part in parts(rows)]
        return np.concatenate(found) if found else np.empty((0, capacity), np.float32)


def earlier_witnesses(holdout: Holdout, memory: FeatureBuffer, codec: FeatureCodec) -> Witnesses:
    """Of the classes learned before: what was held out, filled up from the long-term memory."""
    more = _filling(holdout.labels, memory.labels)
    labels = np.concatenate([holdout.labels, memory.labels[more]])
    return Witnesses(len(holdout.labels), labels, [_held(holdout, codec), (memory.read, more)])


def own_witnesses(holdout: Holdout, samples: Samples, codec: FeatureCodec) -> Witnesses:
    """Of the task's own classes: what is held out of it, filled up with samples that are trained on."""
    trained = samples.labels[samples.rows]
    more = samples.rows[_filling(holdout.labels, trained)]
    labels = np.concatenate([holdout.labels, samples.labels[more]])
    return Witnesses(len(holdout.labels), labels, [_held(holdout, codec), (samples.read, more)])


def _held(holdout: Holdout, codec: FeatureCodec) -> tuple[Callable[[IntArray], FloatArray], IntArray]:
    return lambda rows: codec.decode(holdout.features[rows]), np.arange(len(holdout.labels))


def _filling(held: IntArray, others: IntArray) -> IntArray:
    """Positions of others that fill each of their classes up, ascending."""
    chosen = [
        np.flatnonzero(others == row)[: max(0, WITNESSES_PER_CLASS - int((held == row).sum()))]
        for row in np.unique(others)
    ]
    return np.sort(np.concatenate(chosen)) if chosen else np.empty(0, np.int64)
