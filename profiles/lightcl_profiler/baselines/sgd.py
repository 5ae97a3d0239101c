"""SGD, also called fine-tuning: each task in turn, nothing done against forgetting. The lower bound."""

from __future__ import annotations

from torch.nn import functional as nn

from lightcl_profiler.baselines.contract import Baseline, Batch, Task


class Sgd(Baseline):
    """Cross entropy over all classes, every layer trained, BatchNorm in training mode."""

    def step(self, task: Task, batch: Batch) -> float:
        """See :meth:`Baseline.step`."""
        del task
        self.optimiser.zero_grad()
        loss = nn.cross_entropy(self.network(batch.images), batch.labels)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimiser.step()
        return float(loss.detach())
