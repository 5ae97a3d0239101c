"""What a benchmarked method must do, and what it is given.

The runner drives every method alike::

    method.begin(setting)
    for task in tasks:                      # one call for a method that gets all tasks at once
        method.learn(task)
        scores = method.scores(test_images) # of all tasks seen so far
    method.close()

The class with the largest score is the prediction: among all classes seen so far (class-incremental), or among the
classes of the image's own task (task-incremental). A method trains on images (``part.dataset``: a baseline that trains
a whole network) or on the trunk's features (``setting.features.of(part)``: extracted once, shared by all methods and
seeds). Everything random follows from ``setting.seed``.

A new strategy of the device or a new baseline needs a line in :data:`lightcl_host.benchmark.methods.METHODS`. Any other
method is a subclass of :class:`Method` in a module of its own.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from lightcl_edge.bundle.bundle import Bundle
from lightcl_edge.data.dataset import Dataset
from lightcl_edge.files.tensors import DoubleArray, FloatArray, IntArray
from lightcl_host.benchmark.options import BenchmarkOptions


@dataclass(frozen=True)
class Part:
    """Some images of the benchmark: a task's training images, or test images.

    Attributes:
        dataset: the images; ``dataset.load(i, info)`` gives one at a network's input size.
        labels: of each image, shape ``(n,)``: rows of the classifier, in the order in which tasks bring classes.
        positions: of each image in the benchmark's feature store ``store``, shape ``(n,)``.
        store: ``train`` or ``test``.
    """

    dataset: Dataset
    labels: IntArray
    positions: IntArray
    store: str

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class TaskPart:
    """A task to learn: its training images, and the rows of its classes."""

    images: Part
    classes: tuple[int, ...]


class FeatureSource(Protocol):
    """Features of the benchmark's images under the bundle's trunk, as a device would store them."""

    def of(self, part: Part) -> NDArray[np.uint8]:
        """uint8 features of a part's images, shape ``(n, *feature_shape)``."""


@dataclass(frozen=True)
class Setting:
    """One run: a method with a seed.

    ``bundle`` is the network cut into trunk and head. ``classes`` are in the order of rows. ``features`` are shared by
    all methods that keep the trunk. ``scratch`` is an empty folder of this run's own. ``note`` tells the person who
    waits.
    """

    options: BenchmarkOptions
    bundle: Bundle
    classes: list[str]
    features: FeatureSource
    seed: int
    scratch: Path
    note: Callable[[str], None]


@dataclass(frozen=True)
class Facts:
    """What a method says about itself after the last task, for the report.

    ``memory_bytes`` is what it keeps between tasks, buffered samples and statistics, without the network's weights.
    """

    memory_bytes: int
    settings: dict[str, float | int | str | None] = field(default_factory=dict)


class Method(ABC):
    """A way of learning tasks one after the other."""

    @abstractmethod
    def begin(self, setting: Setting) -> None:
        """Make the network and whatever is remembered; nothing is learned yet."""

    @abstractmethod
    def learn(self, task: TaskPart) -> None:
        """Learn one task. Images of earlier tasks may not be used, except those that the method kept."""

    @abstractmethod
    def scores(self, part: Part) -> FloatArray:
        """One number for each image and class.

        Args:
            part: images of any tasks, also of tasks that are not learned yet.

        Returns:
            Logits, whose softmax is the method's probabilities; shape ``(len(part), len(setting.classes))``. Columns of
            classes that are not seen yet count only in the forward transfer (is a task easier than chance before it is
            learned?); zeros there mean chance.
        """

    def novelty(self, part: Part) -> DoubleArray | None:
        """How strange images are to what was learned, shape ``(len(part),)``: larger is stranger.

        None when the method can't tell.
        """
        return None

    @abstractmethod
    def facts(self) -> Facts:
        """What to report beside accuracies."""

    def close(self) -> None:
        """Give back what it holds."""
        return
