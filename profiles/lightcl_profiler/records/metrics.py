"""How well a learner kept what it had learned, from the matrix of accuracies; pure functions.

``matrix[i][j]`` is the accuracy on task ``j`` after task ``i`` was learned, for ``j <= i``: row ``i`` has
``i + 1`` numbers, shares of 0 to 1.
"""

from collections.abc import Mapping, Sequence

from lightcl_edge.errors import UsageError

AccuracyMatrix = Sequence[Sequence[float]]


def check_matrix(matrix: AccuracyMatrix) -> None:
    """Refuse, with a UsageError, a matrix that is empty or not lower triangular."""
    if not matrix:
        raise UsageError("the accuracy matrix is empty, expected a row for each task")
    for row, accuracies in enumerate(matrix):
        if len(accuracies) != row + 1:
            raise UsageError(f"row {row} of the accuracy matrix has {len(accuracies)} numbers, expected {row + 1}")


def average_forgetting(matrix: AccuracyMatrix) -> float:
    """What was lost since it was known best (Chaudhry et al. 2018, eq. 3 and 4).

    The mean over all tasks but the last of the best accuracy before the last task, minus the final one. 0 for a single
    task; negative when later tasks helped.
    """
    check_matrix(matrix)
    last = len(matrix) - 1
    losses = [max(matrix[i][task] for i in range(task, last)) - matrix[last][task] for task in range(last)]
    return sum(losses) / last if last else 0.0


def backward_transfer(matrix: AccuracyMatrix) -> float:
    """How learning later tasks changed earlier ones (Lopez-Paz and Ranzato 2017, eq. 3).

    The mean over all tasks but the last of the final accuracy minus the one right after learning it. 0 for a single
    task.
    """
    check_matrix(matrix)
    last = len(matrix) - 1
    gains = [matrix[last][task] - matrix[task][task] for task in range(last)]
    return sum(gains) / last if last else 0.0


def task_accuracies(per_class: Mapping[str, Mapping[str, float]], task_classes: Sequence[Sequence[str]]) -> list[float]:
    """The accuracy of each task from what ``evaluate --json`` says about each class; a UsageError without it."""
    accuracies = []
    for names in task_classes:
        missing = [name for name in names if name not in per_class]
        images = sum(per_class[name]["images"] for name in names if name in per_class)
        if missing or not images:
            raise UsageError(f"found no evaluated images of class {(missing or list(names))[0]!r}, expected some")
        right = sum(per_class[name]["accuracy"] * per_class[name]["images"] for name in names)
        accuracies.append(right / images)
    return accuracies
