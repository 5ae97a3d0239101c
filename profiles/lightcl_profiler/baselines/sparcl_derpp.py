"""SparCL on dark experience replay (Wang et al., NeurIPS 2022).

What SparCL adds is in :mod:`lightcl_profiler.baselines.sparcl`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lightcl_profiler.baselines.contract import Batch, Build, Settings, Task
from lightcl_profiler.baselines.derpp import Derpp
from lightcl_profiler.baselines.sparcl import Shares, Sparsity


class SparclDerpp(Derpp):
    """Dark experience replay with masked weights, gradients and data.

    Args:
        build: see :class:`Baseline`.
        settings: see :class:`Baseline`.
        shares: how sparse.
    """

    def __init__(self, build: Build, settings: Settings, shares: Shares | None = None) -> None:
        super().__init__(build, settings)
        self.sparsity = Sparsity(self.network, shares or Shares())

    def begin_task(self, task: Task) -> None:
        """See :meth:`Baseline.begin_task`."""
        self.sparsity.begin_task(task)

    def begin_epoch(self, task: Task, epoch: int) -> NDArray[np.int64]:
        """See :meth:`Baseline.begin_epoch`."""
        return self.sparsity.begin_epoch(task, epoch, self.buffer)

    def step(self, task: Task, batch: Batch) -> float:
        """See :meth:`Baseline.step`."""
        loss, logits = self.backward(task, batch)
        self.sparsity.count_mistakes(batch, logits)
        self.sparsity.mask_gradients()
        self.optimiser.step()
        self.remember(batch, logits)
        return loss

    def end_task(self, task: Task) -> None:
        """See :meth:`Baseline.end_task`."""
        self.sparsity.end_task(task, self.buffer)
