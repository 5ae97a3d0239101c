"""Continual-learning metrics against numbers worked out by hand."""

from __future__ import annotations

import pytest

from lightcl_edge.errors import UsageError
from lightcl_profiler.records.metrics import average_forgetting, backward_transfer, task_accuracies

# Task 1: 0.9, 0.95, 0.5. Task 2: 0.8, 0.6. Task 3: 0.7.
MATRIX = [[0.9], [0.95, 0.8], [0.5, 0.6, 0.7]]


def test_forgetting_counts_from_the_best() -> None:
    assert average_forgetting(MATRIX) == pytest.approx(((0.95 - 0.5) + (0.8 - 0.6)) / 2)


def test_backward_transfer_counts_from_right_after_learning() -> None:
    assert backward_transfer(MATRIX) == pytest.approx(((0.5 - 0.9) + (0.6 - 0.8)) / 2)


def test_later_tasks_may_help() -> None:
    assert average_forgetting([[0.5], [0.75, 1.0]]) == pytest.approx(-0.25)
    assert backward_transfer([[0.5], [0.75, 1.0]]) == pytest.approx(0.25)


def test_a_single_task_forgets_nothing() -> None:
    assert average_forgetting([[0.9]]) == 0.0
    assert backward_transfer([[0.9]]) == 0.0


@pytest.mark.parametrize("metric", [average_forgetting, backward_transfer])
def test_a_matrix_that_is_not_triangular_is_refused(metric: object) -> None:
    with pytest.raises(UsageError, match="row 1 of the accuracy matrix has 1 numbers, expected 2"):
        metric([[0.9], [0.8]])  # type: ignore[operator]
    with pytest.raises(UsageError, match="is empty"):
        metric([])  # type: ignore[operator]


def test_task_accuracy_weighs_classes_by_their_images() -> None:
    per_class = {
        "0": {"accuracy": 1.0, "images": 30},
        "1": {"accuracy": 0.5, "images": 10},
        "2": {"accuracy": 0.25, "images": 4},
    }
    assert task_accuracies(per_class, [["0", "1"], ["2"]]) == [pytest.approx(35 / 40), 0.25]


def test_a_class_that_was_not_evaluated_is_named() -> None:
    with pytest.raises(UsageError, match="no evaluated images of class '7'"):
        task_accuracies({"0": {"accuracy": 1.0, "images": 3}}, [["0", "7"]])
