"""How well a generation knows its classes, its own errors, and what it has never seen."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lightcl_edge.console.progress import Progress
from lightcl_edge.console.text import Document
from lightcl_edge.data.dataset import Dataset
from lightcl_edge.data.decoding import ByteImage
from lightcl_edge.errors import DataError
from lightcl_edge.files.tensors import DoubleArray, FloatArray, IntArray
from lightcl_edge.inference.calibration import auroc, expected_calibration_error
from lightcl_edge.inference.prediction import Limits
from lightcl_edge.inference.predictor import Predictor, Scores


@dataclass(frozen=True)
class UnknownImages:
    """How well images of classes that were never learned are told apart from the others.

    Attributes:
        images: how many of them were looked at.
        auroc: the probability that one of them is stranger than an image of a known class.
        found: share of them that are called unknown.
    """

    images: int
    auroc: float
    found: float


@dataclass(frozen=True)
class Answers:
    """What was said of each readable image; all arrays have the shape ``(n,)``.

    Attributes:
        indices: of the images in the data set.
        labels: rows of the true classes.
        rows: rows of the classes that were said.
        confidences: their probabilities.
    """

    indices: IntArray
    labels: IntArray
    rows: IntArray
    confidences: FloatArray

    @property
    def right(self) -> NDArray[np.bool_]:
        return np.equal(self.rows, self.labels)


@dataclass(frozen=True)
class Evaluation:
    """How well the learned classes are told apart.

    Attributes:
        classes: names in row order.
        confusion: counts, shape ``(classes, classes)``: row = true class, column = prediction.
        skipped: the fault of each unreadable image.
        expected_calibration_error: how far probabilities are from the share of right predictions, 0 to 1.
        error_auroc: the probability that a right prediction has a larger probability than a wrong one; None when all
            are right or all are wrong.
        false_alarm_rate: share of these images that are called unknown; None when no score tells.
        unknown: of images of other classes; None when there are none, or no score tells.
        answers: what was said of each image.
    """

    classes: list[str]
    confusion: NDArray[np.int64]
    skipped: list[str]
    expected_calibration_error: float
    error_auroc: float | None
    false_alarm_rate: float | None
    unknown: UnknownImages | None
    answers: Answers

    @property
    def accuracy(self) -> float:
        """Share of images that were recognised."""
        return float(self.confusion.diagonal().sum() / max(1, self.confusion.sum()))

    @property
    def balanced_accuracy(self) -> float:
        """Mean over the classes that have images of the share of their images that were recognised."""
        totals = self.confusion.sum(axis=1)
        seen = totals > 0
        return float((self.confusion.diagonal()[seen] / totals[seen]).mean()) if seen.any() else 0.0

    def document(self) -> Document:
        """The document of ``evaluate --json``."""
        totals, right = self.confusion.sum(axis=1), self.confusion.diagonal()
        seen = [row for row in range(len(self.classes)) if totals[row]]
        return {
            "accuracy": self.accuracy,
            "balanced_accuracy": self.balanced_accuracy,
            "expected_calibration_error": self.expected_calibration_error,
            "error_auroc": self.error_auroc,
            "false_alarm_rate": self.false_alarm_rate,
            "unknown_images": self.unknown and self.unknown.images,
            "unknown_auroc": self.unknown and self.unknown.auroc,
            "unknown_found": self.unknown and self.unknown.found,
            "images": int(totals.sum()),
            "skipped_images": len(self.skipped),
            "classes": self.classes,
            "per_class": {
                self.classes[row]: {"accuracy": float(right[row] / totals[row]), "images": int(totals[row])}
                for row in seen
            },
            "confusion": {
                self.classes[row]: {
                    self.classes[column]: int(self.confusion[row, column])
                    for column in np.flatnonzero(self.confusion[row])
                }
                for row in seen
            },
        }


def evaluate(
    predictor: Predictor,
    dataset: Dataset,
    progress: Progress,
    limits: Limits | None = None,
    unknown: Iterable[ByteImage] = (),
) -> Evaluation:
    """Predict labelled images and count.

    Args:
        predictor: of the generation to judge.
        dataset: images of known classes.
        progress: tells how far it is.
        limits: when an image is called unknown; None for the defaults.
        unknown: images at input size of classes that were never learned.

    Returns:
        Counts, calibration and what is known of the unknown.

    Raises:
        DataError: when the data hold a class that was never learned, or no readable image.
    """
    limits = limits or Limits()
    skipped: list[str] = []
    indices, labels, known = _known(predictor, dataset, progress, skipped)
    strange = _judged(predictor.scores_of(unknown)).novelty
    others = None
    if known.novelty is not None and strange is not None:
        found = _called_unknown(predictor, strange, limits)
        others = UnknownImages(len(strange), auroc(known.novelty, strange), found)
    return _counted(predictor, indices, labels, known, limits, skipped, others)


def evaluate_scores(predictor: Predictor, scores: Iterable[Scores], labels: IntArray) -> Evaluation:
    """As :func:`evaluate`, of scores that the predictor gave; ``labels`` has the shape ``(n,)``, ``n`` not 0."""
    return _counted(predictor, np.arange(len(labels)), labels, _judged(scores), Limits(), [], None)


def _counted(
    predictor: Predictor,
    indices: IntArray,
    labels: IntArray,
    known: _Judged,
    limits: Limits,
    skipped: list[str],
    others: UnknownImages | None,
) -> Evaluation:
    confusion = np.zeros((len(predictor.classes), len(predictor.classes)), np.int64)
    np.add.at(confusion, (labels, known.rows), 1)
    right = known.rows == labels
    error = expected_calibration_error(known.confidences, right)
    apart = auroc(known.confidences[~right], known.confidences[right]) if 0 < right.sum() < len(right) else None
    rate = None if known.novelty is None else _called_unknown(predictor, known.novelty, limits)
    answers = Answers(indices, labels, known.rows, known.confidences)
    return Evaluation(predictor.classes, confusion, skipped, error, apart, rate, others, answers)


@dataclass(frozen=True)
class _Judged:
    """Of ``n`` images: predicted rows and their probabilities, shape ``(n,)``, and novelty scores if there are any."""

    rows: IntArray
    confidences: FloatArray
    novelty: DoubleArray | None


def _judged(found: Iterable[Scores]) -> _Judged:
    rows: list[IntArray] = [np.zeros(0, np.int64)]
    confidences: list[FloatArray] = [np.zeros(0, np.float32)]
    novelty: list[DoubleArray] = []
    for scores in found:
        rows.append(scores.probabilities.argmax(axis=1))
        confidences.append(scores.probabilities.max(axis=1))
        if scores.novelty is not None:
            novelty.append(scores.novelty)
    return _Judged(np.concatenate(rows), np.concatenate(confidences), np.concatenate(novelty) if novelty else None)


def _known(
    predictor: Predictor, dataset: Dataset, progress: Progress, skipped: list[str]
) -> tuple[IntArray, IntArray, _Judged]:
    """Indices of the readable images and rows of their true classes, both ``(n,)``; faults go to ``skipped``."""
    known = predictor.classes
    if never := sorted(set(dataset.classes) - set(known)):
        raise DataError(
            f"the data has classes {never} that were never learned, known are {known}; "
            "train them first or leave them out (lightcl-edge evaluate --skip-unknown)"
        )
    dataset.grey_range = predictor.grey_range
    rows = [known.index(name) for name in dataset.classes]
    labels: list[int] = []
    indices: list[int] = []

    def readable() -> Iterable[ByteImage]:
        for index in progress.track(range(len(dataset)), "evaluating"):
            try:
                image = dataset.load(index, predictor.input)
            except DataError as error:
                skipped.append(str(error))
                continue
            indices.append(index)
            labels.append(rows[dataset.labels[index]])
            yield image

    judged = _judged(predictor.scores_of(readable()))
    if not labels:
        raise DataError(f"none of the {len(dataset)} images can be read; the first fault: {skipped[0]}")
    return np.array(indices, np.int64), np.array(labels, np.int64), judged


def _called_unknown(predictor: Predictor, novelty: DoubleArray, limits: Limits) -> float:
    return float(predictor.classifier.is_unknown(novelty, limits.false_alarms).mean())
