"""What a benchmarked method must do, and what it is given.

The runner drives every method alike::

    method.begin(setting)
    for task in tasks:                      # one call where ``all_at_once`` is set
        method.learn(task)
        scores = method.scores(test_images) # of all tasks seen so far
    method.close()

``scores`` are as good as logits: the class with the largest score among all classes seen is the class-incremental
prediction, among the image's own task the task-incremental one. A method trains on images (``part.dataset``: a baseline
that trains a whole network) or on the trunk's features (``setting.features.of(part)``: extracted once, shared by all
methods and seeds). Everything random follows from ``setting.seed``.

To add a method, write a subclass of :class:`Method` in a module of its own and name it in
:data:`lightcl_host.benchmark.methods.METHODS`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from lightcl_edge.bundle.bundle import Bundle
from lightcl_edge.data.dataset import Dataset
from lightcl_edge.files.tensors import FloatArray, IntArray
from lightcl_host.sources.source import SourceOptions


@dataclass(frozen=True)
class Part:
    """Some images of the benchmark: a task's training images, or test images.

    Attributes:
        dataset: the images; ``dataset.load(i, info)`` gives one at a network's input size.
        labels: of each image, rows of the classifier in the order in which tasks bring classes, shape ``(n,)``.
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
    """A task to learn.

    Attributes:
        number: from 0; 0 for all tasks at once.
        images: to learn from.
        classes: rows of the task's classes.
    """

    number: int
    images: Part
    classes: tuple[int, ...]


class FeatureSource(Protocol):
    """Features of the benchmark's images under the bundle's trunk, as a device would store them."""

    def of(self, part: Part) -> NDArray[np.uint8]:
        """uint8 features of a part's images, shape ``(n, *feature_shape)``."""


@dataclass(frozen=True)
class Setting:
    """The same for every method of a benchmark.

    Attributes:
        source: the network: what ``lightcl_host.sources.source.open_source`` takes.
        bundle: the same network cut into trunk and head.
        classes: names in the order of rows.
        tasks: how many there are.
        features: shared by all methods that keep the trunk.
        buffer_bytes: the most a method may keep of earlier tasks' images or features.
        epochs: passes over a task's images; None for the method's own default.
        batch_size: samples a step.
        learning_rate: of the method; None for its own default.
        seed: of everything random.
        threads: of each library; None for all processors.
        engine: of ``lightcl-edge train``.
        torch_device: of methods in PyTorch: ``auto``, ``cpu`` or ``cuda``.
        scratch: an empty folder of this run's own.
        note: tells the person who waits.
    """

    source: SourceOptions
    bundle: Bundle
    classes: list[str]
    tasks: int
    features: FeatureSource
    buffer_bytes: int
    epochs: int | None
    batch_size: int
    learning_rate: float | None
    seed: int
    threads: int | None
    engine: str
    torch_device: str
    scratch: Path
    note: Callable[[str], None]


@dataclass(frozen=True)
class Facts:
    """What a method says about itself after the last task.

    Attributes:
        memory_bytes: kept between tasks: buffered samples and statistics, without the network's weights.
        settings: what it was trained with, for the report.
    """

    memory_bytes: int
    settings: dict[str, float | int | str | None] = field(default_factory=dict)


class Method(ABC):
    """A way of learning tasks one after the other.

    Attributes:
        title: one line that says what it is and which paper it comes from.
        all_at_once: it is given all tasks as one: an upper bound, not continual learning.
        uses_features: it learns from the trunk's features, which are extracted before its process starts.
        formula: name of the paper's formula for it (:mod:`lightcl_profiler.paper.memory`); of a strategy of the device
            ``device:NAME``.
    """

    title: ClassVar[str]
    all_at_once: ClassVar[bool] = False
    uses_features: ClassVar[bool] = False
    formula: ClassVar[str | None] = None

    @abstractmethod
    def begin(self, setting: Setting) -> None:
        """Make the network and whatever is remembered; nothing is learned yet."""

    @abstractmethod
    def learn(self, task: TaskPart) -> None:
        """Learn one task; earlier tasks' images are no longer to be looked at, beyond what was kept."""

    @abstractmethod
    def scores(self, part: Part) -> FloatArray:
        """One number for each image and class.

        Args:
            part: images of any tasks, those not learned yet too.

        Returns:
            Shape ``(len(part), len(setting.classes))``. Columns of classes not seen yet count in the forward
            transfer alone (is a task easier than chance before it was learned?); zeros say chance.
        """

    @abstractmethod
    def facts(self) -> Facts:
        """What to report beside accuracies."""

    def close(self) -> None:
        """Give back what it holds."""
        return
