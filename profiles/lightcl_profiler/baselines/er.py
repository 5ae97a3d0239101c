"""Experience replay (Chaudhry et al., "On Tiny Episodic Memories in Continual Learning", arXiv 1902.10486, 2019).

Each step stacks the new batch and a batch drawn from a reservoir of earlier images and takes one step on the
mean cross entropy of both together (their Algorithm 1).
"""

import torch
from torch.nn import functional as nn

from lightcl_profiler.baselines.buffer import Buffer
from lightcl_profiler.baselines.contract import Baseline, Batch, Build, Settings, Task, add_gradients


class Er(Baseline):
    """One forward pass over new and remembered images; BatchNorm sees both."""

    def __init__(self, build: Build, settings: Settings) -> None:
        super().__init__(build, settings)
        self.buffer = Buffer(settings.buffer_samples, settings.seed)

    def backward(self, task: Task, batch: Batch) -> tuple[float, torch.Tensor]:
        images, labels = batch.images, batch.labels
        if len(self.buffer):
            old = self.buffer.sample(self.settings.buffer_samples)
            images, labels = torch.cat([images, old.images]), torch.cat([labels, old.labels])
        logits = self.network(images)
        return add_gradients(nn.cross_entropy(logits, labels)), logits.detach()[: len(batch.labels)]

    def after_update(self, batch: Batch, logits: torch.Tensor) -> None:
        self.buffer.offer(batch.images, batch.labels)
