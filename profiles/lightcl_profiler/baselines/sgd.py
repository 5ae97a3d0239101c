"""SGD, also called fine-tuning: each task in turn, nothing done against forgetting. The lower bound."""

from __future__ import annotations

import torch
from torch.nn import functional as nn

from lightcl_profiler.baselines.contract import Baseline, Batch, Task, add_gradients


class Sgd(Baseline):
    """Cross entropy over all classes, every layer trained, BatchNorm in training mode."""

    def backward(self, task: Task, batch: Batch) -> tuple[float, torch.Tensor]:
        """One term."""
        logits = self.network(batch.images)
        return add_gradients(nn.cross_entropy(logits, batch.labels)), logits.detach()
