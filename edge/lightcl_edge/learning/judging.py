"""Compares the old head with the new one, class by class, and collects the samples for it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from lightcl_edge.console.text import table
from lightcl_edge.data.feature_buffer import FeatureBuffer
from lightcl_edge.data.feature_store import Samples
from lightcl_edge.data.held_out_samples import Holdout
from lightcl_edge.data.uint8_codec import FeatureCodec
from lightcl_edge.files.tensors import FloatArray, IntArray
from lightcl_edge.learning.engines.contract import Engine
from lightcl_edge.learning.strategies.forward import parts

#: A sample contradicts its label when the old head is at least this sure of another class that it knows.
CONTRADICTION_CERTAINTY = 0.9
#: Classes with fewer held-out samples than this are filled up with other samples.
JUDGED_PER_CLASS = 10


def accuracy(logits: FloatArray, labels: IntArray, classes: int) -> float | None:
    """Share of samples whose largest logit among the first ``classes`` rows is right; None when there are none."""
    return float((logits[:, :classes].argmax(axis=1) == labels).mean()) if len(labels) else None


@dataclass(frozen=True)
class Judgement:
    """Accuracy of each class under the old and the new head; all arrays have the shape ``(classes,)``.

    Attributes:
        images: samples that the class is judged on.
        before: under the old head; NaN when it did not know the class.
        after: under the new head, among all classes.
        among_earlier: under the new head, among the classes that the old head knew; NaN for new classes.
    """

    classes: Sequence[str]
    images: IntArray
    before: FloatArray
    after: FloatArray
    among_earlier: FloatArray

    def document(self) -> dict[str, dict[str, float | int | None]]:
        """The table for ``--json``: None instead of NaN, and no class without samples."""
        return {
            self.classes[row]: {
                "images": int(self.images[row]),
                "before": _number(self.before[row]),
                "after": _number(self.after[row]),
                "after_among_earlier_classes": _number(self.among_earlier[row]),
            }
            for row in np.flatnonzero(self.images).tolist()
        }

    def text(self) -> str:
        """The table for a person."""
        rows = []
        for row in np.flatnonzero(self.images).tolist():
            shares = [self.before[row], self.after[row], self.among_earlier[row]]
            texts = ["" if np.isnan(share) else f"{share:.1%}" for share in shares]
            rows.append([self.classes[row], str(self.images[row]), *texts])
        return table(rows, ["class", "judged on", "before", "after", "among earlier classes"])


def _number(value: np.float32) -> float | None:
    return None if np.isnan(value) else float(value)


def judge(
    classes: Sequence[str], earlier: int, labels: IntArray, before: FloatArray | None, after: FloatArray
) -> Judgement:
    """Compare two heads class by class.

    Args:
        classes: names in row order; the old head knew the first ``earlier`` of them.
        labels: rows of the samples, shape ``(n,)``.
        before: the old head's logits, shape ``(n, capacity)``; None when it knew nothing.
        after: the new head's logits, of the same shape.
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
    """Count the samples of which the old head surely says something else than their label.

    Args:
        logits: of the old head, shape ``(n, capacity)``.
        labels: rows of the classifier, shape ``(n,)``; the old head knew the first ``known`` rows.

    Returns:
        How many samples contradict their label, and how many have a known class at all.
    """
    mine = labels < known
    if known == 0 or not mine.any():
        return 0, 0
    among = logits[mine, :known].astype(np.float64)
    among -= among.max(axis=1, keepdims=True)
    certainty = 1.0 / np.exp(among).sum(axis=1)
    sure = (among.argmax(axis=1) != labels[mine]) & (certainty >= CONTRADICTION_CERTAINTY)
    return int(sure.sum()), int(mine.sum())


@dataclass(frozen=True)
class JudgingSamples:
    """Samples that heads are judged on. They lie in one or more places and are read a few at a time.

    Attributes:
        held_out: so many samples, the first ones, were never trained on.
        labels: rows of the classifier, shape ``(n,)``.
        places: functions that give float features at positions, and those positions, ``n`` in all.
    """

    held_out: int
    labels: IntArray
    places: Sequence[tuple[Callable[[IntArray], FloatArray], IntArray]]

    def logits(self, engine: Engine, capacity: int) -> FloatArray:
        """What the engine's present head says of them, shape ``(n, capacity)``."""
        found = [engine.logits(read(part)) for read, rows in self.places for part in parts(rows)]
        return np.concatenate(found) if found else np.empty((0, capacity), np.float32)


@dataclass(frozen=True)
class Reference:
    """Samples with the logits that the head before training gave them, shape ``(n, capacity)``."""

    samples: JudgingSamples
    logits: FloatArray

    @classmethod
    def of(cls, samples: JudgingSamples, engine: Engine, capacity: int) -> Reference:
        """With the head that the engine holds now."""
        return cls(samples, samples.logits(engine, capacity))


def earlier_samples(holdout: Holdout, buffer: FeatureBuffer, codec: FeatureCodec) -> JudgingSamples:
    """Of the classes learned before: held-out samples, filled up from the feature buffer."""
    more = _filling(holdout.labels, buffer.labels)
    labels = np.concatenate([holdout.labels, buffer.labels[more]])
    return JudgingSamples(len(holdout.labels), labels, [_held(holdout, codec), (buffer.read, more)])


def own_samples(holdout: Holdout, samples: Samples, codec: FeatureCodec) -> JudgingSamples:
    """Of the task's own classes: held-out samples, filled up with samples that are trained on."""
    more = samples.rows[_filling(holdout.labels, samples.labels[samples.rows])]
    labels = np.concatenate([holdout.labels, samples.labels[more]])
    return JudgingSamples(len(holdout.labels), labels, [_held(holdout, codec), (samples.read, more)])


def _held(holdout: Holdout, codec: FeatureCodec) -> tuple[Callable[[IntArray], FloatArray], IntArray]:
    return lambda rows: codec.decode(holdout.features[rows]), np.arange(len(holdout.labels))


def _filling(held: IntArray, others: IntArray) -> IntArray:
    """Positions in ``others`` of the samples that fill up each of their classes, ascending."""
    chosen = [
        np.flatnonzero(others == row)[: max(0, JUDGED_PER_CLASS - int((held == row).sum()))]
        for row in np.unique(others)
    ]
    return np.sort(np.concatenate(chosen)) if chosen else np.empty(0, np.int64)
