"""SGD, also called fine-tuning: each task in turn, nothing done against forgetting. The lower bound."""

from typing import ClassVar

import torch
from torch.nn import functional as nn

from lightcl_profiler.baselines.contract import Baseline, Batch, Task, add_gradients


class Sgd(Baseline):
    """Cross entropy over all classes, every layer trained, BatchNorm in training mode."""

    def backward(self, task: Task, batch: Batch) -> tuple[float, torch.Tensor]:
        logits = self.network(batch.images)
        return add_gradients(nn.cross_entropy(logits, batch.labels)), logits.detach()


class Joint(Sgd):
    """All tasks as one, as if all images were at hand from the start: the upper bound."""

    joint: ClassVar[bool] = True
