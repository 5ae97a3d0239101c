"""Experience replay (Chaudhry et al., "On Tiny Episodic Memories in Continual Learning", arXiv 1902.10486, 2019).

Each step stacks the new batch and a batch drawn from a reservoir of earlier images and takes one step on the
mean cross entropy of both together (their Algorithm 1).
"""

from __future__ import annotations

import torch
from torch.nn import functional as nn

from lightcl_profiler.baselines.buffer import Buffer
from lightcl_profiler.baselines.contract import Baseline, Batch, Build, Settings, Task


class Er(Baseline):
    """One forward pass over new and remembered images; BatchNorm sees both.

    Args:
        build: see :class:`Baseline`.
        settings: see :class:`Baseline`.
    """

    def __init__(self, build: Build, settings: Settings) -> None:
        super().__init__(build, settings)
        self.buffer = Buffer(settings.buffer_samples, settings.seed)

    def step(self, task: Task, batch: Batch) -> float:
        """See :meth:`Baseline.step`."""
        loss, _ = self.backward(task, batch)
        self.optimiser.step()
        self.remember(batch)
        return loss

    def backward(self, task: Task, batch: Batch) -> tuple[float, torch.Tensor]:
        """The loss, its gradients without a step, and the logits of the new batch, shape ``(n, classes)``."""
        del task
        images, labels = batch.images, batch.labels
        if len(self.buffer):
            old = self.buffer.sample(self.settings.buffer_samples)
            images, labels = torch.cat([images, old.images]), torch.cat([labels, old.labels])
        self.optimiser.zero_grad()
        logits = self.network(images)
        loss = nn.cross_entropy(logits, labels)
        loss.backward()  # type: ignore[no-untyped-call]
        return float(loss.detach()), logits.detach()[: len(batch.labels)]

    def remember(self, batch: Batch) -> None:
        """Offer a batch's images to the buffer."""
        self.buffer.offer(batch.images, batch.labels)
