"""The images that every method gets: chosen once and written as class folders, which all methods read alike.

Files are linked, not copied. Images from arrays or from a package become lossless PNG files. So the memory of an array,
or of a package's loader, does not count for a method.
"""

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

#: LightCL's pattern term starts with the second task, so at least two tasks of two classes show it.
_CLASSES_FOR_TWO_TASKS = 4


@dataclass(frozen=True)
class Workload:
    """Images on disk: a folder for each task, with a sub-folder for each class, and the class names of each task."""

    folders: list[Path]
    tasks: list[list[str]]
    images: int
    skipped_images: int


def split_classes(classes: Sequence[str], tasks: int | None = None) -> list[list[str]]:
    """The classes of each task, in order. Earlier tasks get one more when they do not divide evenly.

    Without a number there are two tasks for four classes or more, else one. Raises a DataError for fewer classes than
    tasks.
    """
    count = tasks or (1 if len(classes) < _CLASSES_FOR_TWO_TASKS else 2)
    if count > len(classes):
        raise DataError(f"the data has {len(classes)} classes, expected at least {count} for --tasks {count}")
    share, rest = divmod(len(classes), count)
    bounds = [number * share + min(number, rest) for number in range(count + 1)]
    return [list(classes[start:end]) for start, end in pairwise(bounds)]


def choose(labels: NDArray[np.int64], limit: int | None, seed: int) -> NDArray[np.int64]:
    """Ascending positions in ``labels``: all, or at most ``limit`` spread evenly, at least one of each class."""
    if limit is None or limit >= len(labels):
        return np.arange(len(labels))
    order = np.random.default_rng(seed).permutation(len(labels))
    values = np.unique(labels)
    share, rest = divmod(limit, len(values))
    chosen = [order[labels[order] == value][: max(share + (i < rest), 1)] for i, value in enumerate(values)]
    return np.sort(np.concatenate(chosen))


def make_workload(data: str, folder: Path, limit: int | None, seed: int, task_count: int | None = None) -> Workload:
    """Write the images of a data specification as folders, one a task.

    ``limit`` is the most images in all, ``seed`` that of their choice; without a task count there are one or two tasks.
    Raises a DataError when there are no such data, or when a class has no readable image.
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
    """A class's folder. The position keeps names apart that differ only in characters a file name can't have."""
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
