"""The contract of a strategy: what a task's steps minimise, and what it keeps between tasks.

A strategy is driven by :class:`lightcl_edge.learning.loop.TrainingLoop`, for ``train`` and for the host's benchmark::

    strategy.restore(tensors)                   # what it left after an earlier task
    term = strategy.begin(task, engine)         # the engine holds the head before the task
    engine.load(task.start)                     # epochs over strategy.pool(task), a batch at a time
    engine.step(strategy.compose(task, some_of_the_pool, learning_rate, term))
    tensors = strategy.tensors()                # committed with the head

A strategy that does not train the head needs only its rows in closed form, ``fit``. Every strategy has them, because
they say what was never seen. Samples of earlier tasks are in the device's feature buffer, ``task.buffer``. It is filled
after every task, whatever the strategy, so that a device may change its strategy.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from lightcl_edge.bundle.graph_names import MASKED_LOGIT
from lightcl_edge.bundle.manifest import HeadInfo
from lightcl_edge.data.feature_buffer import FeatureBuffer
from lightcl_edge.data.sums import Pooled
from lightcl_edge.files.tensors import FloatArray, IntArray, Parameters
from lightcl_edge.learning.closed_form.analysis import Rows, analysis_rows
from lightcl_edge.learning.closed_form.classifier import ClosedForm
from lightcl_edge.learning.closed_form.temperature import negative_log_likelihood
from lightcl_edge.learning.engines.contract import Batch, Engine, PatternTerm
from lightcl_edge.learning.strategies.forward import parts

#: Samples that tell whether training is of use.
PROBED = 256
Arrays = Mapping[str, NDArray[np.generic]]


@dataclass(frozen=True)
class Settings:
    """What a user may set."""

    beta: float  # weight of the pattern term
    ratio: float  # share of channels that a task marks as important, 0 to 1
    pattern_samples: int  # how many samples carry patterns


@dataclass(frozen=True)
class Task:
    """The task that is about to be learned."""

    number: int  # 0 for the state's first task
    labels: IntArray  # of its training samples, shape (n,), rows of the classifier
    known_classes: int  # rows in use, the task's new ones included
    first_rows: IntArray  # positions of the first batch's samples, in order
    read: Callable[[IntArray], FloatArray]  # gives the float features at k positions, shape (k, *feature_shape)
    rows: IntArray = field(default_factory=lambda: np.empty(0, np.int64))  # positions of the training samples
    buffer: FeatureBuffer | None = None  # samples of earlier tasks
    exported: Parameters = field(default_factory=dict)  # the bundle's own head
    start: Parameters = field(default_factory=dict)  # the head that training starts from
    form: ClosedForm | None = None  # what the sums of all classes give, with the task's samples

    @property
    def remembered(self) -> int:
        """How many samples of earlier tasks there are."""
        return 0 if self.buffer is None else len(self.buffer.labels)

    def samples(self, places: IntArray) -> tuple[FloatArray, IntArray]:
        """Features ``(k, *feature_shape)`` and labels ``(k,)`` of ``k`` places in the pool, in their order.

        A place is the position of a new sample, as in ``rows``, or ``-1 - i`` for sample ``i`` of the buffer.
        """
        new = places >= 0
        order = np.argsort(self.rows, kind="stable")
        labels = np.empty(len(places), np.int64)
        labels[new] = self.labels[order[np.searchsorted(self.rows, places[new], sorter=order)]]
        if self.buffer is None or new.all():
            return self.read(places), labels
        old = -1 - places[~new]
        labels[~new] = self.buffer.labels[old]
        remembered = self.buffer.read(old)
        features = np.empty((len(places), *remembered.shape[1:]), remembered.dtype)
        features[~new] = remembered
        if new.any():
            features[new] = self.read(places[new])
        return features, labels


class Strategy:
    """A way of learning."""

    name: ClassVar[str]
    #: Whether steps change the head; False for strategies whose classifier is in closed form.
    trains_head: ClassVar[bool] = True
    #: Whether logits are those of the rows in closed form. Then each task begins with the head as exported, and with
    #: zero rows in its classifier: steps train it on top of the logits in closed form.
    on_closed_form: ClassVar[bool] = False
    #: Share of the trained head's logits.
    head_share: float = 1.0
    #: A sample counts at most this often.
    largest_weight: ClassVar[float] = 20.0
    #: Training begins anew with smaller steps when the mean loss of late is this much above that of the start.
    accepted_rise: ClassVar[float] = 10.0
    #: The user's settings that it uses.
    uses: ClassVar[tuple[str, ...]] = ("epochs", "batch_size", "learning_rate", "beta", "ratio", "pattern_samples")

    def __init__(self, head: HeadInfo, settings: Settings) -> None:
        self.head, self.settings = head, settings

    @classmethod
    def holds_patterns(cls, _beta: float) -> bool:
        """Whether samples carry patterns in each step, given the pattern term's weight."""
        return False

    @staticmethod
    def fit(pooled: Pooled) -> Rows:
        """Rows in closed form of all classes; the scatter of ``pooled`` is overwritten."""
        return analysis_rows(pooled)

    def restore(self, arrays: Arrays) -> None:
        """Take up :meth:`tensors` of an earlier task; empty when there was none."""

    def tensors(self) -> dict[str, NDArray[np.generic]]:
        """What to keep until the next task. Its size is bounded, however many tasks there are."""
        return {}

    def forget(self, row: int) -> None:
        """Erase one class from what is kept; the rows above it move one down."""

    def begin(self, task: Task, engine: Engine) -> PatternTerm | None:
        """Prepare for a task's steps; gives the pattern term of every step, None for no term.

        ``engine`` holds the head as it was before, with new rows at their class means unless ``on_closed_form``.
        """
        return None

    def pool(self, task: Task) -> IntArray:
        """The samples of an epoch, as :meth:`Task.samples` takes them; by default the new samples."""
        return task.rows

    def rate(self, _done: float) -> float:
        """The factor on the learning rate once a share ``_done`` of the task's steps is done."""
        return 1.0

    def active_classes(self, task: Task) -> NDArray[np.bool_]:
        """The rows that take part in the cross entropy, shape ``(capacity,)``; by default all known classes."""
        return np.arange(self.head.capacity) < task.known_classes

    def pool_labels(self, task: Task) -> IntArray:
        """The classes of the samples in the pool, in any order."""
        return task.labels

    def sample_weights(self, task: Task, labels: IntArray) -> FloatArray:
        """The weight of samples with these labels in the cross entropy, shape ``(k,)``.

        Every class of the pool counts the same, up to ``largest_weight`` for a single sample. Where classes are of one
        size, as in the published benchmarks, each weight is 1.
        """
        counts = np.bincount(self.pool_labels(task), minlength=self.head.capacity)
        fair = counts.sum() / max(1, np.count_nonzero(counts)) / np.maximum(1, counts)
        return np.asarray(np.minimum(fair[labels], self.largest_weight), np.float32)

    def offsets(self, task: Task, places: IntArray) -> FloatArray:
        """What is added to the head's logits of ``k`` places, shape ``(k, capacity)``; by default the mask."""
        mask = np.where(self.active_classes(task), np.float32(0), MASKED_LOGIT)
        return np.repeat(mask[None], len(places), axis=0)

    def loss(self, task: Task, engine: Engine, share: float = 1.0) -> float:
        """Mean cross entropy of a part of the pool with a share of the head's logits."""
        pool = self.pool(task)
        places = pool[:: max(1, -(-len(pool) // PROBED))]
        total, weight = 0.0, 0.0
        for part in parts(places):
            features, labels = task.samples(part)
            logits = share * engine.logits(features).astype(np.float64) + self.offsets(task, part)
            weights = self.sample_weights(task, labels)
            with np.errstate(over="ignore", invalid="ignore"):  # of a head that blew up
                total += float(negative_log_likelihood(logits, labels) @ weights)
            weight += float(weights.sum())
        return total / weight

    def compose(self, task: Task, places: IntArray, learning_rate: float, patterns: PatternTerm | None) -> Batch:
        """One step's batch from ``k`` places in the pool."""
        features, labels = task.samples(places)
        return Batch(
            features=features,
            labels=labels,
            logit_offset=self.offsets(task, places),
            weights=self.sample_weights(task, labels) / np.float32(len(labels)),
            learning_rate=learning_rate,
            patterns=patterns,
        )
