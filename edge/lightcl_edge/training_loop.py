"""Epochs over a task's stored features with the head only; checkpoints on the way."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from lightcl_edge.checkpoint import Checkpoints, Position
from lightcl_edge.console import Progress
from lightcl_edge.engines.contract import Batch, Engine, FloatArray, IntArray, PatternTerm
from lightcl_edge.features import FeatureCodec, FeatureStore
from lightcl_edge.interrupts import DeferredInterrupt
from lightcl_edge.manifest import TrainingDefaults
from lightcl_edge.feature_buffer import FeatureBuffer
from lightcl_edge.strategies.contract import StepContext, Strategy, Task

#: Features that pass the head at once outside of training.
FORWARD_BATCH = 64


def parts(rows: IntArray) -> Iterator[IntArray]:
    """Rows in runs of ``FORWARD_BATCH``."""
    for at in range(0, len(rows), FORWARD_BATCH):
        yield rows[at : at + FORWARD_BATCH]


@dataclass(frozen=True)
class Samples:
    """The part of a task's store that is trained on.

    Attributes:
        store: quantised features.
        codec: turns them into numbers.
        labels: of every sample in the store, rows of the classifier, shape ``(n,)``.
        rows: positions to train on, shape ``(k,)``.
    """

    store: FeatureStore
    codec: FeatureCodec
    labels: IntArray
    rows: IntArray

    def read(self, rows: IntArray) -> FloatArray:
        """Float features, shape ``(len(rows), *feature_shape)``."""
        return self.codec.decode(self.store.read(rows))

    def penultimate(self, engine: Engine, rows: IntArray) -> FloatArray:
        """The classifier's inputs under the engine's present head, shape ``(len(rows), d)``."""
        return np.concatenate(
            [engine.activations(self.read(part), ["penultimate"])["penultimate"] for part in parts(rows)]
        )


@dataclass
class TrainingLoop:
    """Trains one task.

    Attributes:
        engine: holds the head, loaded with the parameters to start from.
        strategy: says what the loss is.
        settings: epochs, batch size, learning rate.
        samples: what to train on.
        order: random numbers of an epoch, the same whenever it is asked.
        checkpoints: where to go on from, and where to write.
        progress: shows how far it is.
    """

    engine: Engine
    strategy: Strategy
    settings: TrainingDefaults
    samples: Samples
    order: Callable[[int], np.random.Generator]
    checkpoints: Checkpoints
    progress: Progress

    def run(self, task_number: int, known_classes: int) -> tuple[float, bool]:
        """Train to the end.

        Args:
            task_number: 0 for the state's first task.
            known_classes: rows in use, new ones included.

        Returns:
            The mean loss of the last epoch, and whether a checkpoint was taken up.
        """
        labels = self.samples.labels[self.samples.rows]
        first = self._shuffled(0)[: self.settings.batch_size]
        task = Task(task_number, labels, known_classes, first, self.samples.read)
        term = self.strategy.begin(task, self.engine)
        mask = self.strategy.active_classes(task).astype(np.float32)
        position, resumed = Position(0, 0, 0.0), False
        if (found := self.checkpoints.load()) is not None:
            position, resumed = found[0], True
            self.engine.load(found[1])
        loss = 0.0
        for epoch in self.progress.track(range(self.settings.epochs), "training epochs"):
            if epoch >= position.epoch:
                start = position if epoch == position.epoch else Position(epoch, 0, 0.0)
                loss = self._epoch(start, mask, term)
        return loss, resumed

    def _shuffled(self, epoch: int) -> IntArray:
        return self.order(epoch).permutation(self.samples.rows)

    def _epoch(self, start: Position, mask: FloatArray, term: PatternTerm | None) -> float:
        """The rest of one epoch; its mean loss."""
        rows, size = self._shuffled(start.epoch), self.settings.batch_size
        steps = -(-len(rows) // size)
        position = start
        with DeferredInterrupt() as interrupt:
            for step in range(start.step, steps):
                loss = self.engine.step(self._batch(rows[step * size : (step + 1) * size], mask, term))
                position = Position(start.epoch, step + 1, position.loss_sum + loss)
                if interrupt.asked or self.checkpoints.due():
                    self.checkpoints.save(position, self.engine.views())
                if interrupt.asked:
                    raise KeyboardInterrupt
        return position.loss_sum / steps

    def _batch(self, rows: IntArray, mask: FloatArray, term: PatternTerm | None) -> Batch:
        count = len(rows)
        return Batch(
            features=self.samples.read(rows),
            labels=self.samples.labels[rows],
            logit_mask=np.repeat(mask[None], count, axis=0),
            weights=np.full(count, 1.0 / count, np.float32),
            learning_rate=self.settings.learning_rate,
            patterns=term,
        )
