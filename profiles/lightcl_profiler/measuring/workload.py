"""The images every method is given: chosen once, written as class folders that each method reads alike.

Files are linked, not copied; images that come from arrays or a package become lossless PNG files, so that
what reads them (an array in memory, a package's loader) is not charged to the methods.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lightcl_edge.data.dataset import Dataset
from lightcl_edge.data.specification import open_dataset
from lightcl_edge.errors import DataError

#: LightCL's pattern term starts with the second task; two tasks of two classes are the least that show it.
CLASSES_FOR_TWO_TASKS = 4


@dataclass(frozen=True)
class Workload:
    """Images on disk, divided into tasks.

    Attributes:
        folders: one a task, with one sub-folder a class.
        tasks: the class names of each task.
        images: how many in all.
        skipped_images: how many could not be read.
    """

    folders: list[Path]
    tasks: list[list[str]]
    images: int
    skipped_images: int


def split_classes(classes: Sequence[str], tasks: int | None = None) -> list[list[str]]:
    """The classes of each task, in order; earlier tasks get one more where they do not divide evenly.

    Args:
        classes: all of them.
        tasks: how many tasks; None for two when there are classes enough, else one.

    Returns:
        Class names of each task.

    Raises:
        DataError: when there are fewer classes than tasks.
    """
    count = tasks or (1 if len(classes) < CLASSES_FOR_TWO_TASKS else 2)
    if count > len(classes):
        raise DataError(f"the data has {len(classes)} classes, expected at least {count} for --tasks {count}")
    share, rest = divmod(len(classes), count)
    bounds = [number * share + min(number, rest) for number in range(count + 1)]
    return [list(classes[start:end]) for start, end in pairwise(bounds)]


def choose(labels: NDArray[np.int64], limit: int | None, seed: int) -> NDArray[np.int64]:
    """Which images take part: all, or at most ``limit`` spread evenly over the classes.

    Args:
        labels: class of each image, shape ``(n,)``.
        limit: most images in all; each class keeps at least one.
        seed: of the choice.

    Returns:
        Positions in ``labels``, ascending.
    """
    if limit is None or limit >= len(labels):
        return np.arange(len(labels))
    order = np.random.default_rng(seed).permutation(len(labels))
    values = np.unique(labels)
    share, rest = divmod(limit, len(values))
    chosen = [order[labels[order] == value][: max(share + (i < rest), 1)] for i, value in enumerate(values)]
    return np.sort(np.concatenate(chosen))


def make_workload(data: str, folder: Path, limit: int | None, seed: int, task_count: int | None = None) -> Workload:
    """Write the images of a data specification as folders, one a task.

    Args:
        data: what to read.
        folder: where to write.
        limit: most images in all, or None.
        seed: of the choice.
        task_count: how many tasks; None for one or two.

    Returns:
        What was written.

    Raises:
        DataError: when there is no such data, or a class has no readable image.
    """
    dataset = open_dataset(data)
    tasks = split_classes(dataset.classes, task_count)
    task_of = {name: number for number, names in enumerate(tasks) for name in names}
    folders = [folder / f"task{number}" for number in range(1, len(tasks) + 1)]
    written = dict.fromkeys(dataset.classes, 0)
    skipped = 0
    for index in choose(dataset.labels, limit, seed):
        name = dataset.classes[dataset.labels[index]]
        if _place(dataset, int(index), folders[task_of[name]] / _folder_name(dataset.classes, name)):
            written[name] += 1
        else:
            skipped += 1
    empty = [name for name, count in written.items() if not count]
    if empty:
        raise DataError(f"class {empty[0]!r} of {data} has no readable image, expected at least one for each class")
    return Workload(folders, tasks, sum(written.values()), skipped)


def _folder_name(classes: Sequence[str], name: str) -> str:
    """A class's folder: the position keeps apart names that differ only where a file name can't."""
    return f"{classes.index(name):04d}-{re.sub(r'[^A-Za-z0-9_-]', '_', name)[:60]}"


def _place(dataset: Dataset, index: int, folder: Path) -> bool:
    """Link or write one image; False when it can't be read."""
    try:
        image = dataset.image(index)
    except DataError:
        return False
    folder.mkdir(parents=True, exist_ok=True)
    source = Path(dataset.name(index))
    if source.is_file():
        (folder / f"{index:07d}{source.suffix.lower()}").symlink_to(source.resolve())
    else:
        Image.fromarray(image).save(folder / f"{index:07d}.png")
    return True
