"""Trains the head in epochs over a task's stored features, with checkpoints on the way."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from lightcl_edge.bundle.manifest import TrainingDefaults
from lightcl_edge.console.progress import Progress
from lightcl_edge.files.tensors import IntArray, distinct
from lightcl_edge.learning.checkpoint import Checkpoints, Position
from lightcl_edge.learning.engines.contract import Engine, PatternTerm
from lightcl_edge.learning.strategies.class_rows import class_means, nearest_mean_rows, write_rows
from lightcl_edge.learning.strategies.contract import Strategy, Task
from lightcl_edge.learning.strategies.forward import penultimate
from lightcl_edge.machine.cooling import Cooler
from lightcl_edge.machine.interrupts import DeferredInterrupt

#: Steps that begin anew are this much smaller, and so often they do at most: to a 256th.
SMALLER_STEPS, MOST_RESTARTS = 0.25, 4


@dataclass(frozen=True)
class Outcome:
    """What became of a task's steps.

    Attributes:
        loss: mean of the last epoch, or that of the start where the start stays.
        resumed: whether training went on from a checkpoint.
        improved: whether the trained head is better than the start. If not, the engine holds the start.
    """

    loss: float
    resumed: bool
    improved: bool


class _RisenLossError(Exception):
    """The loss rose, or is no number any more."""


@dataclass
class TrainingLoop:
    """Trains one task. Steps can't blow up: when the loss rises, they begin anew from the start and are smaller.

    Attributes:
        engine: holds the head as it was before the task, with rows for new classes if the strategy wants them.
        order: gives the random numbers of an epoch, each time the same.
        checkpoints: None to keep none.
        cooler: pauses between steps; None to never pause.
    """

    engine: Engine
    strategy: Strategy
    settings: TrainingDefaults
    order: Callable[[int], np.random.Generator]
    checkpoints: Checkpoints | None
    progress: Progress
    cooler: Cooler | None = None

    def run(self, task: Task) -> Outcome:
        """Train to the end; the engine holds the result."""
        term = self.strategy.begin(task, self.engine)
        self.engine.load(task.start)
        share = self.strategy.head_share
        start_loss = self.strategy.loss(task, self.engine, share)
        limit = start_loss + self.strategy.accepted_rise
        position, resumed = Position(0, 0, 0.0, 0, start_loss), False
        found = None if self.checkpoints is None else self.checkpoints.load(self.engine.views())
        if found is not None and found[0].epoch < self.settings.epochs and found[0].restarts <= MOST_RESTARTS:
            position, resumed = found[0], True
            self.engine.load(found[1])
        for restarts in range(position.restarts, MOST_RESTARTS + 1):
            try:
                loss = self._epochs(task, term, position, limit)
            except _RisenLossError:
                if restarts < MOST_RESTARTS:
                    self.progress.note("the loss rose; training begins anew with smaller steps")
                position = Position(0, 0, 0.0, restarts + 1, start_loss)
                self.engine.load(task.start)
                continue
            end_loss = self.strategy.loss(task, self.engine, share)
            if self._is_finite() and end_loss <= (start_loss if self.strategy.on_closed_form else limit):
                return Outcome(loss, resumed, True)
            break
        self.engine.load(task.start)
        return Outcome(start_loss, resumed, False)

    def _is_finite(self) -> bool:
        return all(np.isfinite(array).all() for array in self.engine.views().values())

    def _epochs(self, task: Task, term: PatternTerm | None, position: Position, limit: float) -> float:
        loss, pool = 0.0, self.strategy.pool(task)
        with DeferredInterrupt() as interrupt:
            for epoch in self.progress.track(range(self.settings.epochs), "training epochs"):
                if epoch >= position.epoch:
                    places = self.order(epoch).permutation(pool)
                    position = self._epoch(task, replace(position, epoch=epoch), places, term, limit, interrupt)
                    loss = position.loss_sum / position.step
                    position = replace(position, step=0, loss_sum=0.0)
        return loss

    def _epoch(
        self,
        task: Task,
        position: Position,
        places: IntArray,
        term: PatternTerm | None,
        limit: float,
        interrupt: DeferredInterrupt,
    ) -> Position:
        size = self.settings.batch_size
        steps = -(-len(places) // size)
        learning_rate = self.settings.learning_rate * SMALLER_STEPS**position.restarts
        for step in range(position.step, steps):
            if self.cooler is not None:
                self.cooler.between_steps(lambda: interrupt.asked)
            done = (position.epoch * steps + step) / (self.settings.epochs * steps)
            rate = learning_rate * self.strategy.rate(done)
            # without a name, so that a batch is gone before the next one is read
            loss = self.engine.step(self.strategy.compose(task, places[step * size : (step + 1) * size], rate, term))
            position = position.after(loss)
            if not position.recent_loss <= limit:  # NaN is not below either
                raise KeyboardInterrupt if interrupt.asked else _RisenLossError
            if self.checkpoints is not None and (interrupt.asked or self.checkpoints.due()):
                self.checkpoints.save(position, self.engine.views())
            if interrupt.asked:
                raise KeyboardInterrupt
        return position


def start_new_rows(engine: Engine, task: Task, rows: Sequence[int], row_scale: float | None) -> float | None:
    """Write the classifier's rows of classes into the engine's head, from their samples in the task's pool.

    ``row_scale`` is that of rows written before, and the result is that of rows from now on. It is None while no class
    was ever added.
    """
    places = np.concatenate([task.rows, -1 - np.arange(task.remembered)])
    held = task.buffer.labels if task.buffer is not None else np.empty(0, np.int64)
    labels = np.concatenate([task.labels, held])
    chosen = np.isin(labels, rows)
    present = distinct(labels[chosen]).tolist()
    if not present:
        return row_scale
    values = np.concatenate(list(penultimate(engine, lambda part: task.samples(part)[0], places[chosen])))
    means, suggested = class_means(values, labels[chosen], present)
    scale = row_scale or suggested
    counts = np.bincount(labels)[present]
    write_rows(engine, present, *nearest_mean_rows(means, counts, scale))
    return scale
