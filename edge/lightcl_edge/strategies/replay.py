"""Latent replay from a closed-form start: the device's default.

Every task starts from the exported head with the rows of linear discriminant analysis (``slda``), whose statistics are
exact for all samples ever seen; then the whole head is trained for a few epochs over the task's samples and the feature
buffer together (latent replay, Pellegrini et al. 2020), every class with the same weight in the cross entropy. Because
each task starts afresh from what is exact, errors of one task do not add up over the next, and what is learned depends
on the samples seen and kept, not on the order of tasks.

- The rows are scaled by ``SOFTNESS``: the analysis is too sure of itself in 1280 dimensions, and a cross entropy that
  is almost zero teaches nothing.
- The learning rate falls linearly to zero, so that the last steps average.
- With ``--beta`` above 0 LightCL's pattern term holds the head's inner activations to what they were before the task.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lightcl_edge.engines.contract import Engine, FloatArray, IntArray, PatternTerm
from lightcl_edge.manifest import HeadInfo
from lightcl_edge.strategies.contract import Arrays, Settings, Task
from lightcl_edge.strategies.lightcl import LightCL
from lightcl_edge.strategies.slda import Slda
from lightcl_edge.strategies.statistics import DoubleArray

#: Factor on the rows of discriminant analysis at the start; chosen on validation images (``docs/results-learning.md``).
SOFTNESS = 0.3
#: A sample counts at most this often: one image of a new class must not throw the head about.
LARGEST_WEIGHT = 4.0
_MASK = "mask/"


class Replay(Slda):
    """Discriminant analysis, then training over new and remembered samples.

    Args:
        head: names and shapes of the head.
        settings: ``beta`` above 0 adds LightCL's pattern term, with ``ratio`` and ``buffer_samples``.
    """

    name = "replay"
    part = "slda"
    trains_head = True

    def __init__(self, head: HeadInfo, settings: Settings) -> None:
        super().__init__(head, settings)
        self._patterns = LightCL(head, settings)

    def restore(self, arrays: Arrays) -> None:
        """Take up statistics, and the pattern masks if there are some.

        Args:
            arrays: what :meth:`memory` gave; may be empty.

        Raises:
            StateError: when they do not fit this head.
        """
        super().restore(arrays)
        self._patterns.restore({k.removeprefix(_MASK): v for k, v in arrays.items() if k.startswith(_MASK)})

    def memory(self) -> dict[str, NDArray[np.generic]]:
        """Statistics and masks."""
        return {**super().memory(), **{_MASK + name: mask for name, mask in self._patterns.memory().items()}}

    def forget(self, row: int) -> None:
        """See :meth:`Slda.forget`; the masks' logits lose the row too."""
        super().forget(row)
        self._patterns.forget(row)

    def begin(self, task: Task, engine: Engine) -> PatternTerm | None:
        """Take patterns of the old head if they are asked for; then the exported head with rows in closed form."""
        term = self._patterns.begin(task, engine) if self.settings.beta > 0 else None
        super().begin(task, engine)
        return term

    def rows(self, means: DoubleArray) -> tuple[FloatArray, FloatArray]:
        """Softened rows of :meth:`Slda.rows`."""
        weights, biases = super().rows(means)
        return weights * np.float32(SOFTNESS), biases * np.float32(SOFTNESS)

    def pool(self, task: Task) -> IntArray:
        """New samples and all that are remembered."""
        return np.concatenate([task.rows, -1 - np.arange(task.remembered)])

    def sample_weights(self, task: Task, labels: IntArray) -> FloatArray:
        """Every class of the pool counts the same, up to ``LARGEST_WEIGHT`` for a single sample."""
        kept = task.memory.labels if task.memory is not None else np.empty(0, np.int64)
        counts = np.bincount(np.concatenate([task.labels, kept]), minlength=self.head.capacity)
        fair = counts.sum() / max(1, np.count_nonzero(counts)) / np.maximum(1, counts)
        return np.asarray(np.minimum(fair[labels], LARGEST_WEIGHT), np.float32)

    def rate(self, done: float) -> float:
        """Falls linearly to zero."""
        return 1.0 - done
