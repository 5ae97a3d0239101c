"""The user's images as a short sequence of tasks, each with training images and held-out images."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from lightcl_edge.bundle.manifest import InputInfo
from lightcl_edge.console.progress import Progress
from lightcl_edge.data.dataset import Dataset
from lightcl_edge.data.specification import open_dataset
from lightcl_edge.errors import DataError, UsageError
from lightcl_edge.files.tensors import IntArray

ByteImages = NDArray[np.uint8]

#: Fewer classes make no two tasks of two classes.
FEW_CLASSES = 4
#: The share of each class's images that is held out.
_HELD_SHARE = 0.4


@dataclass(frozen=True)
class TaskData:
    """Images of one task at the network's input size, uint8 RGB.

    Attributes:
        train: to train and to fit probes on, shape ``(n, height, width, 3)``.
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
    """All tasks; ``classes`` are in the order in which they are learned, ``skipped`` images could not be read."""

    classes: list[str]
    tasks: list[TaskData]
    skipped: int

    @property
    def images(self) -> int:
        return sum(len(task.train) for task in self.tasks)


def _smallest_class(classes: int) -> int:
    """A class needs so many readable images."""
    return 4 if classes >= FEW_CLASSES else 8


def fitting_tasks(classes: int) -> int:
    """How many tasks these classes are divided into where nobody says it: 3 of two classes or more, else 2."""
    return min(3, max(2, classes // 2))


def open_tasks(spec: str, tasks: int | None, images: int) -> Dataset:
    """Open the images, and check before any is read that they can be divided into so many tasks.

    Fewer than four classes are not divided: each task then brings new images of all of them.

    Args:
        tasks: None for as many as fit.
        images: how many in all, at most, with the held-out ones.

    Raises:
        DataError: when there are no such data.
        UsageError: when there are too few classes for the tasks, or too few images are asked for.
    """
    dataset = open_dataset(spec)
    count = len(dataset.classes)
    if count < 2:
        raise UsageError(f"{spec} has {count} class; expected 2 or more, to tell them apart")
    most = max(2, count // 2)
    if tasks is not None and not 2 <= tasks <= most:
        raise UsageError(f"--tasks {tasks} with {count} classes; expected 2 to {most}: two classes a task or more")
    least = _smallest_class(count) * count
    if images < least:
        raise UsageError(f"--images {images} for {count} classes; expected {least} or more")
    return dataset


def load_sequence(
    spec: str, info: InputInfo, tasks: int | None, images: int, seed: int, progress: Progress
) -> Sequence:
    """Choose images evenly over the classes and divide the classes into tasks, in their order.

    The arguments are those of :func:`open_tasks`, with the size of the network's input and the seed of the choice.
    Raises a DataError also when a class has too few readable images.
    """
    dataset = open_tasks(spec, tasks, images)
    for note in dataset.all_notes():
        progress.note_once(note)
    count = len(dataset.classes)
    rng = np.random.default_rng([seed, 1])
    chosen = [_choose(dataset, row, images // count, rng) for row in range(count)]
    loaded, skipped = {}, 0
    progress.stage(f"reading up to {images} images of {spec}")
    for row in progress.track(range(count), "reading images"):
        loaded[row], missed = _load(dataset, chosen[row], info)
        skipped += missed
    parts = _divided(loaded, tasks or fitting_tasks(count))
    return Sequence(list(dataset.classes), [_task(part, rng) for part in parts], skipped)


def _divided(images: dict[int, ByteImages], tasks: int) -> list[dict[int, ByteImages]]:
    """The classes of each task; of few classes a share of the images instead."""
    if len(images) < FEW_CLASSES:
        return [{row: pixels[at::tasks] for row, pixels in images.items()} for at in range(tasks)]
    edges = [round(task * len(images) / tasks) for task in range(tasks + 1)]
    return [{row: images[row] for row in range(*pair)} for pair in pairwise(edges)]


def _choose(dataset: Dataset, row: int, count: int, rng: np.random.Generator) -> IntArray:
    return rng.permutation(np.flatnonzero(dataset.labels == row))[:count]


def _load(dataset: Dataset, indices: IntArray, info: InputInfo) -> tuple[ByteImages, int]:
    """The readable ones of these images of one class, and how many are unreadable."""
    found = []
    for index in indices:
        try:
            found.append(dataset.load(int(index), info))
        except DataError:
            continue
    least = _smallest_class(len(dataset.classes))
    if len(found) < least:
        name = dataset.classes[int(dataset.labels[indices[0]])]
        raise DataError(f"class {name!r} has {len(found)} readable images; expected {least} or more")
    return np.stack(found), len(indices) - len(found)


def _task(images: dict[int, ByteImages], rng: np.random.Generator) -> TaskData:
    train: list[tuple[int, ByteImages]] = []
    held: list[tuple[int, ByteImages]] = []
    for row, pixels in images.items():
        kept = max(1, round(_HELD_SHARE * len(pixels)))
        held.append((row, pixels[:kept]))
        train.append((row, pixels[kept:]))
    return TaskData(*_joined(train, rng), *_joined(held, rng))


def _joined(parts: list[tuple[int, ByteImages]], rng: np.random.Generator) -> tuple[ByteImages, IntArray]:
    pixels = np.concatenate([part for _, part in parts])
    labels = np.concatenate([np.full(len(part), row, np.int64) for row, part in parts])
    order = rng.permutation(len(labels))
    return pixels[order], labels[order]
