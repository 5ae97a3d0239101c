"""Trains the head in epochs over a task's stored features, with checkpoints on the way.

A strategy without gradients has no epochs: it computes its rows in ``begin``.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from lightcl_edge.bundle.manifest import TrainingDefaults
from lightcl_edge.console.progress import Progress
from lightcl_edge.data.feature_buffer import FeatureBuffer
from lightcl_edge.data.feature_store import Samples
from lightcl_edge.files.tensors import IntArray, Parameters
from lightcl_edge.learning.checkpoint import Checkpoints, Position
from lightcl_edge.learning.engines.contract import Engine, PatternTerm
from lightcl_edge.learning.strategies.class_rows import class_means, nearest_mean_rows, write_rows
from lightcl_edge.learning.strategies.contract import Strategy, Task
from lightcl_edge.learning.strategies.forward import FORWARD_BATCH, cross_entropy, penultimate
from lightcl_edge.machine.cooling import Cooler
from lightcl_edge.machine.interrupts import DeferredInterrupt


@dataclass
class TrainingLoop:
    """Trains one task.

    Attributes:
        engine: holds the head, loaded with the parameters to start from.
        memory: samples of earlier tasks.
        exported: the head's parameters as the bundle brought them.
        order: gives the random numbers of an epoch, each time the same.
        checkpoints: None to keep none.
        cooler: pauses between steps; None to never pause.
    """

    engine: Engine
    strategy: Strategy
    settings: TrainingDefaults
    samples: Samples
    buffer: FeatureBuffer
    exported: Parameters
    order: Callable[[int], np.random.Generator]
    checkpoints: Checkpoints | None
    progress: Progress
    cooler: Cooler | None = None

    def run(self, task_number: int, known_classes: int) -> tuple[float, bool]:
        """Train to the end. The state's first task has the number 0; ``known_classes`` counts the new ones too.

        Returns:
            The mean loss of the last epoch, or of the finished head when there are no epochs; and whether training
            went on from a checkpoint.
        """
        labels = self.samples.labels[self.samples.rows]
        first = self.order(0).permutation(self.samples.rows)[: self.settings.batch_size]
        task = Task(
            task_number,
            labels,
            known_classes,
            first,
            self.samples.read,
            self.samples.rows,
            self.buffer,
            self.exported,
        )
        term = self.strategy.begin(task, self.engine)
        loss, resumed = self._epochs(task, term) if self.strategy.trains_head else (0.0, False)
        self.strategy.finish(task, self.engine)
        return loss if self.strategy.trains_head else self._loss(task), resumed

    def _epochs(self, task: Task, term: PatternTerm | None) -> tuple[float, bool]:
        position, resumed = Position(0, 0, 0.0), False
        found = None if self.checkpoints is None else self.checkpoints.load(self.engine.views())
        if found is not None and found[0].epoch < self.settings.epochs:
            position, resumed = found[0], True
            self.engine.load(found[1])
        loss, pool = 0.0, self.strategy.pool(task)
        with DeferredInterrupt() as interrupt:
            for epoch in self.progress.track(range(self.settings.epochs), "training epochs"):
                if epoch >= position.epoch:
                    start = position if epoch == position.epoch else Position(epoch, 0, 0.0)
                    loss = self._epoch(task, start, self.order(epoch).permutation(pool), term, interrupt)
        return loss, resumed

    def _epoch(
        self, task: Task, start: Position, pool: IntArray, term: PatternTerm | None, interrupt: DeferredInterrupt
    ) -> float:
        size, position = self.settings.batch_size, start
        steps = -(-len(pool) // size)
        for step in range(start.step, steps):
            if self.cooler is not None:
                self.cooler.between_steps(lambda: interrupt.asked)
            done = (start.epoch * steps + step) / (self.settings.epochs * steps)
            rate = self.settings.learning_rate * self.strategy.rate(done)
            # without a name, so that a batch is gone before the next one is read
            loss = self.engine.step(self.strategy.compose(task, pool[step * size : (step + 1) * size], rate, term))
            position = Position(start.epoch, step + 1, position.loss_sum + loss)
            if self.checkpoints is not None and (interrupt.asked or self.checkpoints.due()):
                self.checkpoints.save(position, self.engine.views())
            if interrupt.asked:
                raise KeyboardInterrupt
        return position.loss_sum / steps

    def _loss(self, task: Task) -> float:
        """Mean cross entropy of a few training samples under the finished head."""
        rows = task.rows[:FORWARD_BATCH]
        logits = self.engine.logits(task.read(rows))[:, : task.known_classes]
        return float(cross_entropy(logits, task.labels[: len(rows)]).mean())


def start_new_rows(engine: Engine, samples: Samples, new: Sequence[int], row_scale: float | None) -> float | None:
    """Write the classifier's rows of new classes into the engine's head.

    ``row_scale`` is that of rows written before, and the result is that of rows from now on. It is None while no class
    was ever added.
    """
    if not new:
        return row_scale
    chosen = samples.rows[np.isin(samples.labels[samples.rows], new)]
    values = np.concatenate(list(penultimate(engine, samples.read, chosen)))
    means, suggested = class_means(values, samples.labels[chosen], new)
    scale = row_scale or suggested
    write_rows(engine, list(new), *nearest_mean_rows(means, scale))
    return scale
