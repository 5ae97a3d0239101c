"""Compares the old classifier with the new one, class by class, and collects the samples for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lightcl_edge.console.text import table
from lightcl_edge.data.class_sums import HalfArray
from lightcl_edge.data.feature_buffer import FeatureBuffer
from lightcl_edge.data.feature_store import Samples
from lightcl_edge.data.held_out_samples import Holdout
from lightcl_edge.data.shared_sums import KnownSums
from lightcl_edge.data.sums import Sums
from lightcl_edge.data.uint8_codec import FeatureCodec
from lightcl_edge.files.tensors import DoubleArray, FloatArray, IntArray, distinct
from lightcl_edge.inference.learned_classifier import LearnedClassifier
from lightcl_edge.learning.engines.contract import Engine
from lightcl_edge.learning.strategies.forward import FORWARD_BATCH, parts
from lightcl_edge.learning.taps import taps_of
from lightcl_edge.state.sums_files import StoredSums

#: Classes with fewer held-out samples than this are filled up with other samples.
JUDGED_PER_CLASS = 10
#: Of a task of few classes more are looked at, so that wrong labels show: so many a class, and so many in all.
_OWN_PER_CLASS, _OWN_IN_ALL = 50, 500


@dataclass(frozen=True)
class HeldOutResult:
    """How a classifier does on held-out samples."""

    accuracy: float | None = None  # the mean over classes; None without samples
    right: int = 0
    images: int = 0

    @classmethod
    def of(cls, right: NDArray[np.bool_], labels: IntArray) -> HeldOutResult:
        """From which of the samples are right, and their rows; both of shape ``(n,)``."""
        share = mean_over_classes(right, labels) if len(labels) else None
        return cls(share, int(right.sum()), len(labels))


def accuracy(logits: FloatArray, labels: IntArray) -> float | None:
    """Mean over classes of the share of their samples whose largest logit is right; None when there are no samples."""
    return mean_over_classes(logits.argmax(axis=1) == labels, labels) if len(labels) else None


def mean_over_classes(right: NDArray[np.bool_], labels: IntArray) -> float:
    """Of the shares of each class's samples that are right; both of shape ``(n,)`` with n at least 1."""
    shares = shares_by_class(right, labels, int(labels.max()) + 1)
    return float(np.nanmean(shares))


def shares_by_class(right: NDArray[np.bool_], labels: IntArray, classes: int) -> DoubleArray:
    """Share of each class's samples that are right, shape ``(classes,)``; NaN for a class without samples."""
    counts = np.bincount(labels, minlength=classes)
    found = np.full(len(counts), np.nan)
    np.divide(np.bincount(labels, right, len(counts)), counts, out=found, where=counts > 0)
    return found


@dataclass(frozen=True)
class Judgement:
    """Accuracy of each class under the old and the new classifier; all arrays have the shape ``(classes,)``.

    Attributes:
        images: samples that the class is judged on.
        learned: so many of them were learned from, since too few are held out.
        before: under the old classifier; NaN when it did not know the class.
        after: under the new classifier, among all classes.
        among_earlier: under the new one, among the classes that the old one knew; NaN for new classes.
    """

    classes: Sequence[str]
    images: IntArray
    learned: IntArray
    before: FloatArray
    after: FloatArray
    among_earlier: FloatArray

    def document(self) -> dict[str, dict[str, float | int | None]]:
        """The table for ``--json``: None instead of NaN, and no class without samples."""
        return {
            self.classes[row]: {
                "images": int(self.images[row]),
                "learned_images": int(self.learned[row]),
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
            rows.append([self.classes[row], str(self.images[row]), str(self.learned[row]), *texts])
        return table(rows, ["class", "judged on", "of these learned", "before", "after", "among earlier classes"])


def _number(value: np.float32) -> float | None:
    return None if np.isnan(value) else float(value)


def judge(
    classes: Sequence[str],
    earlier: int,
    labels: IntArray,
    before: FloatArray,
    after: FloatArray,
    held_out: int | None = None,
) -> Judgement:
    """Compare two classifiers class by class.

    Args:
        classes: names in row order; the old classifier knew the first ``earlier`` of them.
        labels: rows of the samples, shape ``(n,)``.
        before: the old classifier's logits, shape ``(n, earlier)``.
        after: the new classifier's logits, shape ``(n, classes)``.
        held_out: the samples after so many were learned from; None: there are none.
    """
    count = len(classes)
    images = np.bincount(labels, minlength=count)[:count]
    learned = images - np.bincount(labels[:held_out], minlength=count)[:count]

    def by_class(logits: FloatArray, rows: int, among: int) -> FloatArray:
        if not among or not len(labels):
            return np.full(count, np.nan, np.float32)
        shares = shares_by_class(logits[:, :among].argmax(axis=1) == labels, labels, count)
        shares[rows:] = np.nan
        return shares.astype(np.float32)

    return Judgement(
        classes,
        images,
        learned,
        by_class(before, earlier, earlier),
        by_class(after, count, count),
        by_class(after, earlier, earlier),
    )


Place = tuple[Callable[[IntArray], FloatArray], IntArray]


@dataclass(frozen=True)
class JudgingSamples:
    """Samples that classifiers are judged on. Features lie in one or more places and are read a few at a time.

    Attributes:
        held_out: so many samples, the first ones, were never trained on.
        labels: rows of the classifier, shape ``(n,)``.
        taps: shape ``(n, tap_size)``.
        places: functions that give float features at positions, and those positions, ``n`` in all. None where no
            classifier needs the head: then no features are read.
    """

    held_out: int
    labels: IntArray
    taps: HalfArray
    places: Sequence[Place] = ()

    def logits(self, classifier: LearnedClassifier, engine: Engine | None) -> FloatArray:
        """What a classifier says of them, shape ``(n, classes)``: with many classes the largest arrays of a training.

        The engine holds the classifier's head; None where it needs none.
        """
        found = np.empty((len(self.labels), len(classifier.biases)), np.float32)
        if engine is None or not classifier.needs_head:
            for at in range(0, len(found), FORWARD_BATCH):
                here = slice(at, at + FORWARD_BATCH)
                found[here] = classifier.logits(self.taps[here].astype(np.float32), None)
            return found
        at = 0
        for read, part in ((read, part) for read, rows in self.places for part in parts(rows)):
            here = slice(at, at + len(part))
            found[here] = classifier.logits(self.taps[here].astype(np.float32), engine.logits(read(part)))
            at += len(part)
        return found


@dataclass(frozen=True)
class Reference:
    """Samples with what the classifier before the task said of them.

    Attributes:
        logits: over its temperature, shape ``(n, classes before)``.
        unknown: which it calls never seen, shape ``(n,)``; none where that was not asked.
    """

    samples: JudgingSamples
    logits: FloatArray
    unknown: NDArray[np.bool_]

    @classmethod
    def of(
        cls, samples: JudgingSamples, classifier: LearnedClassifier, engine: Engine, *, unknown: bool = False
    ) -> Reference:
        """With the classifier before the task; the engine holds its head, if it needs one."""
        tells = unknown and len(classifier.terms.own) > 0  # without its scores it can't tell
        scores = classifier.novelty(samples.taps.astype(np.float32)) if tells else None
        strange = np.zeros(len(samples.labels), np.bool_) if scores is None else classifier.is_unknown(scores)
        return cls(samples, samples.logits(classifier, engine) / np.float32(classifier.temperature), strange)


def earlier_samples(
    holdout: Holdout, sums: Sums, classes: Sequence[str], first_taps: dict[str, HalfArray]
) -> JudgingSamples:
    """Of the classes learned before, for classifiers without a head: held-out samples, filled up from the sums.

    Sums keep the taps of classes with few samples.

    Args:
        classes: names in row order.
        first_taps: some that were read before, by the SHA-256 of the sums. Those used now take their place.
    """
    used: dict[str, HalfArray] = {}
    taps, labels, counts = [holdout.taps], [holdout.labels], sums.counts
    for row, name in enumerate(classes):
        lacking = JUDGED_PER_CLASS - int((holdout.labels == row).sum())
        if lacking > 0 and counts.get(name, sums.size) < sums.size:  # of more samples no taps are kept
            more = _first(sums.classes[name], first_taps, used)[:lacking]
            taps.append(more)
            labels.append(np.full(len(more), row))
    first_taps.clear()
    first_taps.update(used)
    return JudgingSamples(len(holdout.labels), np.concatenate(labels), np.concatenate(taps))


def _first(known: KnownSums, before: Mapping[str, HalfArray], used: dict[str, HalfArray]) -> HalfArray:
    """The first samples of a class; those that lie in one file are remembered under its SHA-256."""
    if not isinstance(known, StoredSums):
        return known.read().values[:JUDGED_PER_CLASS]
    if known.sha256 not in used:
        found = before.get(known.sha256)
        used[known.sha256] = known.read().values[:JUDGED_PER_CLASS].copy() if found is None else found
    return used[known.sha256]


def earlier_samples_with_features(
    holdout: Holdout, buffer: FeatureBuffer, codec: FeatureCodec, engine: Engine
) -> JudgingSamples:
    """Of the classes learned before: held-out samples, filled up from the feature buffer.

    The engine holds the head as exported.
    """
    more = _filling(holdout.labels, buffer.labels)
    return _joined(holdout, codec, (buffer.read, more), buffer.labels[more], engine)


def own_samples(holdout: Holdout, samples: Samples, codec: FeatureCodec, engine: Engine) -> JudgingSamples:
    """Of the task's own classes: held-out samples, filled up with samples that are trained on.

    The engine holds the head as exported.
    """
    labels = samples.labels[samples.rows]
    each = max(JUDGED_PER_CLASS, min(_OWN_PER_CLASS, _OWN_IN_ALL // max(len(distinct(labels)), 1)))
    more = samples.rows[_filling(holdout.labels, labels, each)]
    return _joined(holdout, codec, (samples.read, more), samples.labels[more], engine)


def _joined(holdout: Holdout, codec: FeatureCodec, more: Place, labels: IntArray, engine: Engine) -> JudgingSamples:
    taps = taps_of(engine, *more, holdout.taps.shape[1]).astype(np.float16)
    held = lambda rows: codec.decode(holdout.features[rows]), np.arange(len(holdout.labels))
    return JudgingSamples(
        len(holdout.labels),
        np.concatenate([holdout.labels, labels]),
        np.concatenate([holdout.taps, taps]),
        [held, more],
    )


def _filling(held: IntArray, others: IntArray, each: int = JUDGED_PER_CLASS) -> IntArray:
    """Positions in ``others`` of the samples that fill up each of their classes, ascending, evenly apart."""
    chosen = []
    for row in distinct(others):
        members = np.flatnonzero(others == row)
        lacking = min(max(0, each - int((held == row).sum())), len(members))
        chosen.append(members[np.arange(lacking) * len(members) // max(lacking, 1)])
    return np.sort(np.concatenate(chosen)) if chosen else np.empty(0, np.int64)
