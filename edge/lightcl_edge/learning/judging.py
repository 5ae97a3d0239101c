"""Old head against new, class by class."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from lightcl_edge.console.text import table
from lightcl_edge.data.feature_buffer import FeatureBuffer
from lightcl_edge.data.held_out_samples import Holdout
from lightcl_edge.data.uint8_codec import FeatureCodec
from lightcl_edge.files.tensors import FloatArray, IntArray
from lightcl_edge.learning.engines.contract import Engine
from lightcl_edge.learning.loop import Samples
from lightcl_edge.learning.strategies.forward import parts

#: A sample contradicts its label where the old head is this sure of another class that it knows. A task is refused
#: when more than this share of its samples of known classes do, these are at least so many, and fewer than so many
#: samples of earlier classes were held out to tell whether it did harm.
CONTRADICTION_CERTAINTY, CONTRADICTION_SHARE, CONTRADICTION_SAMPLES, ENOUGH_HELD_OUT = 0.9, 0.5, 5, 10


def accuracy(logits: FloatArray, labels: IntArray, classes: int) -> float | None:
    """Share of samples whose largest logit among the first ``classes`` rows is the right one; None for none."""
    return float((logits[:, :classes].argmax(axis=1) == labels).mean()) if len(labels) else None


@dataclass(frozen=True)
class Judgement:
    """Accuracies of the old and the new head.

    Attributes:
        classes: names in row order, new ones last.
        images: samples of each class that it is judged on, shape ``(classes,)``.
        before: accuracy of each class under the old head, NaN where it did not know the class, shape ``(classes,)``.
        after: under the new head, among all classes.
        among_earlier: under the new head, among the classes that the old head knew; NaN for new ones.
    """

    classes: Sequence[str]
    images: IntArray
    before: FloatArray
    after: FloatArray
    among_earlier: FloatArray

    def document(self) -> dict[str, dict[str, float | int | None]]:
        """The per-class table for ``--json``; None where there is nothing to say."""
        return {
            name: {
                "images": int(self.images[row]),
                "before": _number(self.before[row]),
                "after": _number(self.after[row]),
                "after_among_earlier_classes": _number(self.among_earlier[row]),
            }
            for row, name in enumerate(self.classes)
            if self.images[row]
        }

    def text(self) -> str:
        """The same for a person."""

        def share(value: np.float32) -> str:
            return "" if np.isnan(value) else f"{value:.1%}"

        rows = [
            [
                name,
                str(int(self.images[row])),
                share(self.before[row]),
                share(self.after[row]),
                share(self.among_earlier[row]),
            ]
            for row, name in enumerate(self.classes)
            if self.images[row]
        ]
        return table(rows, ["class", "judged on", "before", "after", "among earlier classes"])


def _number(value: np.float32) -> float | None:
    return None if np.isnan(value) else float(value)


def judge(
    classes: Sequence[str], earlier: int, labels: IntArray, before: FloatArray | None, after: FloatArray
) -> Judgement:
    """Compare two heads class by class.

    Args:
        classes: names in row order.
        earlier: how many of them the old head knew.
        labels: rows of the samples, shape ``(n,)``.
        before: the old head's logits, shape ``(n, capacity)``; None where it knew nothing.
        after: the new head's.

    Returns:
        The comparison.
    """
    count = len(classes)
    images = np.bincount(labels, minlength=count)[:count]

    def by_class(logits: FloatArray | None, rows: int, among: int) -> FloatArray:
        shares = np.full(count, np.nan, np.float32)
        if logits is not None and among:
            right = logits[:, :among].argmax(axis=1) == labels
            for row in np.unique(labels[labels < rows]):
                shares[row] = right[labels == row].mean()
        return shares

    return Judgement(
        classes,
        images,
        by_class(before, earlier, earlier),
        by_class(after, count, count),
        by_class(after, earlier, earlier),
    )


def contradictions(logits: FloatArray, labels: IntArray, known: int) -> tuple[int, int]:
    """How often the old head surely says something else than the labels.

    Args:
        logits: of the old head for the task's samples, shape ``(n, capacity)``.
        labels: rows of the classifier, shape ``(n,)``.
        known: rows that the old head knew.

    Returns:
        Samples that contradict their label, of how many that have a known class.
    """
    mine = labels < known
    if known == 0 or not mine.any():
        return 0, 0
    among = logits[mine, :known].astype(np.float64)
    among -= among.max(axis=1, keepdims=True)
    certainty = 1.0 / np.exp(among).sum(axis=1)
    sure = (among.argmax(axis=1) != labels[mine]) & (certainty >= CONTRADICTION_CERTAINTY)
    return int(sure.sum()), int(mine.sum())


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
