"""Accuracy, forgetting and transfer from scores.

In a matrix, ``[i][j]`` is the accuracy on task ``j`` after task ``i`` was learned, a share of 0 to 1.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lightcl_edge.errors import UsageError
from lightcl_edge.files.tensors import DoubleArray, FloatArray, IntArray
from lightcl_edge.inference.calibration import auroc, expected_calibration_error
from lightcl_edge.inference.learned_classifier import softmax
from lightcl_profiler.records.metrics import average_forgetting, backward_transfer

Matrix = list[list[float]]


@dataclass(frozen=True)
class Measured:
    """Accuracies after one task.

    Attributes:
        class_incremental: of each task, among all classes seen so far; 0 for tasks to come.
        task_incremental: of each task, among its own classes.
        per_class: of each class, among all classes seen so far.
        expected_calibration_error: of the softmax over the classes seen so far, on their images.
        error_auroc: the probability that a right prediction is surer than a wrong one; None when there are not both.
    """

    class_incremental: list[float]
    task_incremental: list[float]
    per_class: list[float]
    expected_calibration_error: float
    error_auroc: float | None


def measure(scores: FloatArray, labels: IntArray, tasks: Sequence[tuple[int, ...]], seen: int) -> Measured:
    """Accuracies from scores, after so many tasks.

    Args:
        scores: of all test images, shape ``(n, classes)``.
        labels: their classes, shape ``(n,)``.
        tasks: rows of each task's classes.
        seen: how many tasks were learned.

    Returns:
        The accuracies; a UsageError is raised when a score is not a number.
    """
    if np.isnan(scores).any():
        raise UsageError("the method gave scores that are not numbers; try a smaller --learning-rate")
    known = [row for task in tasks[:seen] for row in task]
    right = np.asarray(known)[scores[:, known].argmax(axis=1)] == labels
    within = np.empty(len(labels), np.int64)
    for rows in tasks:
        members = np.isin(labels, rows)
        within[members] = np.asarray(rows)[scores[members][:, list(rows)].argmax(axis=1)]
    of_task = [np.isin(labels, rows) for rows in tasks]
    seen_images = np.isin(labels, known)
    sure = softmax(scores[seen_images][:, known].astype(np.float64)).max(axis=1)
    good = right[seen_images]
    return Measured(
        [float(right[members].mean()) for members in of_task],
        [float((within == labels)[members].mean()) for members in of_task],
        [float(right[labels == row].mean()) for row in range(scores.shape[1])],
        expected_calibration_error(sure, good),
        auroc(sure[~good], sure[good]) if 0 < good.sum() < len(good) else None,
    )


def unknown_auroc(novelty: DoubleArray | None, labels: IntArray, known: Sequence[int]) -> float | None:
    """The probability that an image of a class to come is stranger than one of a known class.

    Args:
        novelty: scores of all test images, shape ``(n,)``; None when the method has none.
        labels: their classes, shape ``(n,)``.
        known: rows of the classes that were learned.
    """
    learned = np.isin(labels, known)
    return None if novelty is None or learned.all() else auroc(novelty[learned], novelty[~learned])


def forward_transfer(matrix: Matrix, chance: Sequence[float]) -> float | None:
    """How much earlier tasks help a task that is not learned yet (Lopez-Paz and Ranzato 2017, eq. 4).

    It is the task-incremental accuracy just before a task is learned minus that of guessing, the mean over all tasks
    but the first; None for a single task.
    """
    gains = [matrix[task - 1][task] - chance[task] for task in range(1, len(matrix))]
    return sum(gains) / len(gains) if gains else None


def transfers(matrix: Matrix) -> tuple[float | None, float | None]:
    """Average forgetting and backward transfer of a class-incremental matrix; None for a single task."""
    if len(matrix) < 2:
        return None, None
    lower = [row[: place + 1] for place, row in enumerate(matrix)]
    return average_forgetting(lower), backward_transfer(lower)
