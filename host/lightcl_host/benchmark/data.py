"""The benchmark's data: classes cut into tasks in their order, so many images of each, and the test images."""

from itertools import pairwise
from pathlib import Path

import numpy as np

from lightcl_edge.data.dataset import Dataset
from lightcl_edge.data.specification import open_dataset
from lightcl_edge.errors import DataError, UsageError
from lightcl_edge.files.tensors import IntArray
from lightcl_host.benchmark.contract import Part, TaskPart
from lightcl_host.benchmark.options import DataOptions

_STREAM_CHOICE = 11
#: Where the data have no test split, every fifth image of a class is kept for testing.
_TEST_EVERY = 5


def fitting_tasks(spec: str) -> int:
    """How many tasks are learned where nobody says it: as many as usual, or one for each class."""
    return min(DataOptions.tasks, len(open_dataset(spec).classes))


class BenchmarkData:
    """Opened data.

    Raises a DataError when there are no such data or the test images are of other classes, and a UsageError for more
    tasks than classes.
    """

    def __init__(self, options: DataOptions) -> None:
        self.options = options
        train, test, self._train_pool, self._test_pool = _open(options)
        self.datasets = {"train": train, "test": test}
        self.classes = train.classes
        if not 1 <= options.tasks <= len(self.classes):
            raise UsageError(f"--tasks {options.tasks}; expected 1 to {len(self.classes)}, the number of classes")
        if test.classes != train.classes:
            raise DataError(
                f"the test images have classes {test.classes[:5]}, the training images {train.classes[:5]}; "
                "expected the same"
            )
        edges = [round(task * len(self.classes) / options.tasks) for task in range(options.tasks + 1)]
        self.task_classes = [tuple(range(a, b)) for a, b in pairwise(edges)]

    def tasks(self, seed: int) -> list[TaskPart]:
        """The training images of each task, the same for every method of a seed."""
        chosen = self._chosen(seed)
        return [TaskPart(self._part("train", chosen, rows), rows) for rows in self.task_classes]

    def everything(self, seed: int) -> TaskPart:
        """All tasks as one."""
        rows = tuple(range(len(self.classes)))
        return TaskPart(self._part("train", self._chosen(seed), rows), rows)

    def test(self) -> Part:
        """All test images, the same for every seed."""
        where = "train" if self.datasets["test"] is self.datasets["train"] else "test"
        chosen = _choose(self.datasets[where], self._test_pool, self.options.test_images_per_class, 0)
        return self._part(where, chosen, tuple(range(len(self.classes))))

    def _chosen(self, seed: int) -> IntArray:
        return _choose(self.datasets["train"], self._train_pool, self.options.images_per_class, seed)

    def _part(self, where: str, chosen: IntArray, rows: tuple[int, ...]) -> Part:
        whole = self.datasets[where]
        positions = chosen[np.isin(whole.labels[chosen], rows)]
        return Part(whole.subset(positions, whole.classes), whole.labels[positions], positions, where)


def _open(options: DataOptions) -> tuple[Dataset, Dataset, IntArray, IntArray]:
    """Training and test images, and the positions of each that may be used."""
    train = open_dataset(options.data)
    spec = options.test_data or _test_split(options.data)
    place = np.arange(len(train))
    order = np.concatenate([np.flatnonzero(train.labels == row) for row in range(len(train.classes))])
    within = np.empty(len(train), np.int64)
    within[order] = np.concatenate([np.arange(count) for count in np.bincount(train.labels)])
    if spec is not None and not options.validation:
        test = open_dataset(spec)
        return train, test, place, np.arange(len(test))
    held = within % _TEST_EVERY == 0
    return train, train, place[~held], place[held]


def _test_split(spec: str) -> str | None:
    """``cifar10:FOLDER`` -> ``cifar10:test:FOLDER``; None where there is no such split."""
    if Path(spec).exists():
        return None
    name, _, rest = spec.partition(":")
    tested = f"{name}:test:{rest}" if rest else f"{name}:test"
    return tested if name in ("cifar10", "tinyimagenet", "digits") and not rest.startswith("test") else None


def _choose(dataset: Dataset, pool: IntArray, per_class: int | None, seed: int) -> IntArray:
    """Positions of up to ``per_class`` images of each class, ascending."""
    rng = np.random.default_rng([seed, _STREAM_CHOICE])
    shuffled = rng.permutation(pool)
    labels = dataset.labels[shuffled]
    kept = [shuffled[labels == row][:per_class] for row in range(len(dataset.classes))]
    empty = [dataset.classes[row] for row, found in enumerate(kept) if not len(found)]
    if empty:
        raise DataError(f"class {empty[0]!r} has no image to use, expected at least one")
    return np.sort(np.concatenate(kept))
