"""The user's images as a short sequence of tasks, each with images to train on and images to judge by."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lightcl_edge.bundle.manifest import InputInfo
from lightcl_edge.console.progress import Progress
from lightcl_edge.data.dataset import Dataset
from lightcl_edge.data.specification import open_dataset
from lightcl_edge.errors import DataError, UsageError
from lightcl_edge.files.tensors import IntArray

ByteImages = NDArray[np.uint8]

#: A class needs this many readable images: some to train on, some to judge by.
SMALLEST_CLASS = 4
#: Of each class's images, this share is kept out of training to judge by.
HELD_SHARE = 0.4


@dataclass(frozen=True)
class TaskData:
    """Images of one task at the network's input size.

    Attributes:
        train: to train and to fit probes on, uint8 RGB, shape ``(n, height, width, 3)``.
        train_labels: index into all classes, shape ``(n,)``.
        held: never trained on, shape ``(m, height, width, 3)``.
        held_labels: shape ``(m,)``.
    """

    train: ByteImages
    train_labels: IntArray
    held: ByteImages
    held_labels: IntArray


@dataclass(frozen=True)
class Sequence:
    """All tasks.

    Attributes:
        classes: names of all classes, in the order they are learned.
        tasks: one after the other.
        skipped: how many images could not be read.
    """

    classes: list[str]
    tasks: list[TaskData]
    skipped: int

    @property
    def images(self) -> int:
        """Training images of all tasks."""
        return sum(len(task.train) for task in self.tasks)


def open_tasks(spec: str, tasks: int, images: int) -> Dataset:
    """Open the images and check that they can be divided so, before any is read.

    Args:
        spec: a data specification.
        tasks: how many.
        images: how many in all, at most.

    Returns:
        The images, read lazily.

    Raises:
        DataError: when there is no such data.
        UsageError: when there are too few classes for the tasks or too few images asked for.
    """
    dataset = open_dataset(spec)
    count = len(dataset.classes)
    if not 2 <= tasks <= count // 2:
        raise UsageError(
            f"--tasks {tasks} with {count} classes; expected 2 to {count // 2}: two classes a task or more"
            if count >= 4
            else f"{spec} has {count} classes; expected 4 or more, for two tasks of two classes"
        )
    if images < SMALLEST_CLASS * count:
        raise UsageError(f"--images {images} for {count} classes; expected {SMALLEST_CLASS * count} or more")
    return dataset


def load_sequence(spec: str, info: InputInfo, tasks: int, images: int, seed: int, progress: Progress) -> Sequence:
    """Choose images evenly over the classes and divide the classes into tasks, in their order.

    Args:
        spec: a data specification.
        info: size of the network's input.
        tasks: how many.
        images: how many in all, at most; those to judge by included.
        seed: of the choice.
        progress: shows how far it is.

    Returns:
        The tasks.

    Raises:
        DataError: when a class has too few readable images.
        UsageError: when there are too few classes for the tasks or too few images asked for.
    """
    dataset = open_tasks(spec, tasks, images)
    count = len(dataset.classes)
    rng = np.random.default_rng([seed, 1])
    edges = [round(task * count / tasks) for task in range(tasks + 1)]
    chosen = [_choose(dataset, row, images // count, rng) for row in range(count)]
    loaded, skipped = {}, 0
    progress.stage(f"reading up to {images} images of {spec}")
    for row in progress.track(range(count), "reading images"):
        loaded[row], missed = _load(dataset, chosen[row], info)
        skipped += missed
    return Sequence(
        list(dataset.classes),
        [_task({row: loaded[row] for row in range(*edges[i : i + 2])}, rng) for i in range(tasks)],
        skipped,
    )


def _choose(dataset: Dataset, row: int, count: int, rng: np.random.Generator) -> IntArray:
    return rng.permutation(np.flatnonzero(dataset.labels == row))[:count]


def _load(dataset: Dataset, indices: IntArray, info: InputInfo) -> tuple[ByteImages, int]:
    """The readable images among these, all of one class, and how many are not."""
    found = []
    for index in indices:
        try:
            found.append(dataset.load(int(index), info))
        except DataError:
            continue
    if len(found) < SMALLEST_CLASS:
        name = dataset.classes[int(dataset.labels[indices[0]])]
        raise DataError(f"class {name!r} has {len(found)} readable images; expected {SMALLEST_CLASS} or more")
    return np.stack(found), len(indices) - len(found)


def _task(images: dict[int, ByteImages], rng: np.random.Generator) -> TaskData:
    train: list[tuple[int, ByteImages]] = []
    held: list[tuple[int, ByteImages]] = []
    for row, pixels in images.items():
        kept = max(1, round(HELD_SHARE * len(pixels)))
        held.append((row, pixels[:kept]))
        train.append((row, pixels[kept:]))
    return TaskData(*_joined(train, rng), *_joined(held, rng))


def _joined(parts: list[tuple[int, ByteImages]], rng: np.random.Generator) -> tuple[ByteImages, IntArray]:
    pixels = np.concatenate([part for _, part in parts])
    labels = np.concatenate([np.full(len(part), row, np.int64) for row, part in parts])
    order = rng.permutation(len(labels))
    return pixels[order], labels[order]
