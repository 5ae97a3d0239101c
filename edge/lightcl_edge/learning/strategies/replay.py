"""Latent replay from a closed-form start: the device's default.

Every task starts from the exported head with the rows of linear discriminant analysis (``slda``). Their statistics are
exact for all samples ever seen. Then the whole head is trained for a few epochs over the task's samples and the feature
buffer together (latent replay, Pellegrini et al. 2020). Every class has the same weight in the cross entropy. Each task
starts afresh from what is exact, so errors of one task do not add up over the next. What is learned depends on the
samples seen and kept, not on the order of tasks.

- The rows are softened first, see :func:`lightcl_edge.learning.strategies.statistics.soften`.
- The learning rate falls linearly to zero, so that the last steps average.
- The new head is a point on the way to the trained head: ``TRUST`` of the change (weight interpolation, Wortsman et al.
  2022). A few dozen remembered samples of a class are soon learned by heart. A part of the way brings the gain without
  that.
- If the result is no better on the samples than the start was, the start is kept.
- With ``--beta`` above 0 LightCL's pattern term holds the head's inner activations to what they were before the task.
"""

from collections import ChainMap
from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from lightcl_edge.bundle.graph_names import LOGITS
from lightcl_edge.bundle.manifest import HeadInfo
from lightcl_edge.files.tensors import DoubleArray, FloatArray, IntArray, Parameters
from lightcl_edge.learning.engines.contract import Engine, PatternTerm
from lightcl_edge.learning.strategies.class_rows import classifier_rows
from lightcl_edge.learning.strategies.contract import Arrays, Settings, Strategy, Task
from lightcl_edge.learning.strategies.forward import cross_entropy, parts
from lightcl_edge.learning.strategies.lightcl import LightCL
from lightcl_edge.learning.strategies.slda import Slda
from lightcl_edge.learning.strategies.statistics import ClassStatistics, soften
from lightcl_edge.state.generation_checks import MASK_PREFIX

#: The learning rate is meant for penultimate activations up to this squared length; longer ones get a smaller one.
SQUARED_LENGTH = 1000.0
#: A sample counts at most this often: one image of a new class must not throw the head about.
LARGEST_WEIGHT = 4.0
#: How much of training's change is kept; chosen on validation images (``docs/results-learning.md``).
TRUST = 0.4
#: Samples that tell whether training was of use. Training blew up if its loss is this much above the start's.
PROBED, BLOWN_UP = 256, 10.0


class _Between(Mapping[str, FloatArray]):
    """Parameters between two heads, one tensor at a time."""

    def __init__(self, start: Parameters, end: Parameters, share: float) -> None:
        self._start, self._end, self._share = start, end, np.float32(share)

    def __getitem__(self, name: str) -> FloatArray:
        start, between = self._start[name], np.array(self._end[name])
        between -= start  # in place: a device has no room for a large kernel three times over
        between *= self._share
        between += start
        return between

    def __iter__(self) -> Iterator[str]:
        return iter(self._end)

    def __len__(self) -> int:
        return len(self._end)


class Replay(Slda):
    """Discriminant analysis, then training over new and remembered samples."""

    name = "replay"
    part = "slda"
    trains_head = True
    uses = Strategy.uses
    trust = TRUST

    def __init__(self, head: HeadInfo, settings: Settings) -> None:
        super().__init__(head, settings)
        self._patterns = LightCL(head, settings)
        self._start: dict[str, FloatArray] = {}
        self._squared_length, self._start_loss = 0.0, 0.0

    def restore(self, arrays: Arrays) -> None:
        """Take up statistics, and the pattern masks if there are some.

        Raises StateError when they do not fit this head.
        """
        super().restore(arrays)
        self._patterns.restore({k.removeprefix(MASK_PREFIX): v for k, v in arrays.items() if k.startswith(MASK_PREFIX)})

    def tensors(self) -> dict[str, NDArray[np.generic]]:
        """Statistics and masks."""
        return {**super().tensors(), **{MASK_PREFIX + name: mask for name, mask in self._patterns.tensors().items()}}

    def forget(self, row: int) -> None:
        """As :meth:`Slda.forget`; the masks' logits lose the row too."""
        super().forget(row)
        self._patterns.forget(row)

    @classmethod
    def holds_patterns(cls, beta: float) -> bool:
        """Only if the pattern term has a weight."""
        return beta > 0

    def begin(self, task: Task, engine: Engine) -> PatternTerm | None:
        """Take patterns of the old head if they have a weight; then set the exported head with rows in closed form."""
        term = self._patterns.begin(task, engine) if self.settings.beta > 0 else None
        if term is not None:  # logits start anew, on another scale
            term = replace(term, targets={name: values for name, values in term.targets.items() if name != LOGITS})
        super().begin(task, engine)
        self._start = classifier_rows(engine)
        self._start_loss = self._loss(task, engine)
        return term

    def finish(self, task: Task, engine: Engine) -> None:
        """Go a part of the way from the start to the trained head, or back to the start if that is no better.

        Numbers that blew up are left as they are: the gate refuses them and says what to change.
        """
        if not task.exported or not all(np.isfinite(array).all() for array in engine.views().values()):
            return
        start = ChainMap(self._start, task.exported)  # type: ignore[arg-type]  # only read from
        if self.trust < 1:
            engine.load(_Between(start, engine.views(), self.trust))
        if self._start_loss < self._loss(task, engine) < self._start_loss + BLOWN_UP:
            engine.load(start)

    def _loss(self, task: Task, engine: Engine) -> float:
        """Cross entropy of a part of the pool, every class with the same weight, under the engine's present head."""
        pool = self.pool(task)
        places = pool[:: -(-len(pool) // PROBED)]
        total, weight = 0.0, 0.0
        for part in parts(places):
            features, labels = task.samples(part)
            losses = cross_entropy(engine.logits(features)[:, : task.known_classes], labels)
            weights = self.sample_weights(task, labels)
            total, weight = total + float(losses @ weights), weight + float(weights.sum())
        return total / weight

    def rows(self, statistics: ClassStatistics, means: DoubleArray) -> tuple[FloatArray, FloatArray]:
        """Softened rows of :meth:`Slda.rows`."""
        self._squared_length = statistics.squared_length()
        return soften(*super().rows(statistics, means), means)

    def pool(self, task: Task) -> IntArray:
        """New samples and all that are remembered."""
        return np.concatenate([task.rows, -1 - np.arange(task.remembered)])

    def sample_weights(self, task: Task, labels: IntArray) -> FloatArray:
        """Every class of the pool counts the same, up to ``LARGEST_WEIGHT`` for a single sample."""
        remembered = task.buffer.labels if task.buffer is not None else np.empty(0, np.int64)
        counts = np.bincount(np.concatenate([task.labels, remembered]), minlength=self.head.capacity)
        fair = counts.sum() / max(1, np.count_nonzero(counts)) / np.maximum(1, counts)
        return np.asarray(np.minimum(fair[labels], LARGEST_WEIGHT), np.float32)

    def rate(self, done: float) -> float:
        """Falls linearly to zero; from less where activations are long, whose gradients are too."""
        return (1.0 - done) * SQUARED_LENGTH / max(self._squared_length, SQUARED_LENGTH)
