"""The contract of a strategy: what a task's steps minimise, and what it keeps between tasks.

A strategy is driven like this, by the trainer and by the host's benchmark alike::

    strategy.restore(kept)                      # what it left after an earlier task
    term = strategy.begin(task, engine)         # the engine holds the head before the task
    if strategy.trains_head:                    # epochs over strategy.pool(task), a batch at a time
        engine.step(strategy.compose(task, some_of_the_pool, step))
    strategy.finish(task, engine)
    kept = strategy.memory()                    # committed with the head

A strategy without gradients sets ``trains_head`` to False and does its work in ``begin``. A strategy does not keep
samples of earlier tasks: the device's feature buffer holds them (:mod:`lightcl_edge.data.feature_buffer`). Every
strategy finds the buffer in ``task.memory``. It is filled after every task, whatever the strategy, so that a device may
change its strategy at any time.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from lightcl_edge.bundle.manifest import HeadInfo
from lightcl_edge.data.feature_buffer import FeatureBuffer
from lightcl_edge.files.tensors import FloatArray, IntArray, Parameters
from lightcl_edge.learning.engines.contract import Batch, Engine, PatternTerm

Arrays = Mapping[str, NDArray[np.generic]]


@dataclass(frozen=True)
class Settings:
    """What a user may set.

    Attributes:
        beta: weight of the pattern term.
        ratio: share of channels that a task marks as important, 0 to 1.
        buffer_samples: how many samples carry patterns.
    """

    beta: float
    ratio: float
    buffer_samples: int


@dataclass(frozen=True)
class Task:
    """The task that is about to be learned.

    Attributes:
        number: 0 for the first this state learns.
        labels: of its training samples, shape ``(n,)``, rows of the classifier.
        known_classes: rows in use, the task's new ones included.
        first_rows: the samples of the first batch, in order.
        read: gives the float features, shape ``(k, *feature_shape)``, at ``k`` positions.
        rows: positions of the training samples, shape ``(n,)``, as ``read`` takes them.
        memory: samples of earlier tasks; None or empty when there are none.
        exported: the head's parameters as the bundle brought them; empty where a caller has none.
    """

    number: int
    labels: IntArray
    known_classes: int
    first_rows: IntArray
    read: Callable[[IntArray], FloatArray]
    rows: IntArray = field(default_factory=lambda: np.empty(0, np.int64))
    memory: FeatureBuffer | None = None
    exported: Parameters = field(default_factory=dict)

    @property
    def remembered(self) -> int:
        """How many samples of earlier tasks there are."""
        return 0 if self.memory is None else len(self.memory)

    def samples(self, places: IntArray) -> tuple[FloatArray, IntArray]:
        """Features and labels of samples of the pool.

        Args:
            places: of new samples their positions, as in ``rows``; of sample ``i`` of the memory ``-1 - i``.

        Returns:
            Shapes ``(k, *feature_shape)`` and ``(k,)``; the new samples first.
        """
        new, old = places[places >= 0], -1 - places[places < 0]
        order = np.argsort(self.rows, kind="stable")
        labels = self.labels[order[np.searchsorted(self.rows, new, sorter=order)]]
        if self.memory is None or not len(old):
            return self.read(new), labels
        remembered = self.memory.read(old)
        if not len(new):
            return remembered, self.memory.labels[old]
        return np.concatenate([self.read(new), remembered]), np.concatenate([labels, self.memory.labels[old]])


class Strategy(ABC):
    """A way of learning.

    Args:
        head: names and shapes of the head.
        settings: what the user set.
    """

    name: ClassVar[str]
    #: Under what name its tensors are kept; strategies that share statistics share it.
    part: ClassVar[str]
    #: Whether steps change the head; False for strategies that compute it in closed form.
    trains_head: ClassVar[bool] = True
    #: What it uses of a user's settings.
    uses: ClassVar[tuple[str, ...]] = ("epochs", "batch_size", "learning_rate", "beta", "ratio", "pattern_samples")

    def __init__(self, head: HeadInfo, settings: Settings) -> None:
        self.head, self.settings = head, settings

    @classmethod
    def holds_patterns(cls, beta: float) -> bool:
        """Whether samples carry patterns in each step, given the pattern term's weight; none unless it says so."""
        del beta
        return False

    def restore(self, arrays: Arrays) -> None:
        """Take up what an earlier task left; an empty mapping means that there was none."""
        del arrays

    def memory(self) -> dict[str, NDArray[np.generic]]:
        """What to keep until the next task; bounded however many tasks there are."""
        return {}

    def forget(self, row: int) -> None:
        """Erase what is kept of one class; the rows above it move one down.

        Args:
            row: of the classifier, as it was before.
        """
        del row

    def begin(self, task: Task, engine: Engine) -> PatternTerm | None:
        """Prepare for a task, with the engine holding the head as it was before (new rows at their class means).

        Args:
            task: what comes.
            engine: to look at activations; only rows of the classifier may be changed here.

        Returns:
            The pattern term of every step, or None.
        """
        del task, engine
        return None

    def pool(self, task: Task) -> IntArray:
        """What an epoch passes over, as :meth:`Task.samples` takes it: new samples unless a strategy says otherwise."""
        return task.rows

    def rate(self, done: float) -> float:
        """The learning rate over the chosen one, when a share ``done`` of the task's steps is done; 1 unless said."""
        del done
        return 1.0

    @abstractmethod
    def active_classes(self, task: Task) -> NDArray[np.bool_]:
        """The rows of the classifier that take part in the task's cross entropy, shape ``(capacity,)``."""

    def sample_weights(self, task: Task, labels: IntArray) -> FloatArray:
        """How much samples of some classes count in the cross entropy, shape ``(k,)``; all the same unless said."""
        del task
        return np.ones(len(labels), np.float32)

    def compose(self, task: Task, places: IntArray, step: StepContext) -> Batch:
        """One step's batch.

        Args:
            task: that is learned.
            places: samples of the pool, shape ``(k,)``.
            step: what else the step is given.

        Returns:
            The batch of ``k`` samples.
        """
        features, labels = task.samples(places)
        mask = self.active_classes(task).astype(np.float32)
        return Batch(
            features=features,
            labels=labels,
            logit_mask=np.repeat(mask[None], len(labels), axis=0),
            weights=self.sample_weights(task, labels) / np.float32(len(labels)),
            learning_rate=step.learning_rate,
            patterns=step.patterns,
        )

    def finish(self, task: Task, engine: Engine) -> None:
        """After the last step: take statistics, or set rows of the classifier in closed form.

        Args:
            task: that was learned.
            engine: holds the trained head; may be given other parameters.
        """
        del task, engine


@dataclass(frozen=True)
class StepContext:
    """What a step is given besides the new samples.

    Attributes:
        learning_rate: of the step.
        patterns: what ``begin`` returned.
    """

    learning_rate: float
    patterns: PatternTerm | None
