"""SparCL's three kinds of sparsity (Wang et al., "SparCL: Sparse Continual Learning on the Edge", NeurIPS 2022).

- *Task-aware dynamic masking*: a share of each layer's weights is zero and stays so. Which ones is decided by the
  continual weight importance ``|w| + a |dL_new/dw| + b |dL_buffer/dw|``, with the new images' loss over their own
  classes only. A new task first gets a few more weights, and gives them back at its end; in between a small share is
  exchanged before each epoch.
- *Dynamic gradient masking*: of the weights in use only the share with the largest continual gradient importance
  ``a |dL_new/dw| + b |dL_buffer/dw|`` is updated.
- *Dynamic data removal*: after an epoch the images that were misclassified least often leave the task.

The paper gives its shares by data set and leaves some of the schedule open; these are our choices. Masks are dense
tensors here, as in PyTorch they must be: measured memory does not shrink, the paper's is calculated.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as nn

from lightcl_profiler.baselines.buffer import Buffer
from lightcl_profiler.baselines.contract import (
    Baseline,
    Batch,
    Build,
    Settings,
    Task,
    add_gradients,
    mark_largest,
    masked_cross_entropy,
)
from lightcl_profiler.baselines.derpp import Derpp
from lightcl_profiler.baselines.er import Er

_IMPORTANCE_BATCH = 32


@dataclass(frozen=True)
class Shares:
    """How sparse."""

    weights: float = 0.75  # zero in each layer
    gradients: float = 0.8  # of the weights, left alone by a step; at least ``weights``
    extra: float = 0.05  # weights more while a later task is learned
    exchanged: float = 0.01  # weights, before each epoch
    removed: float = 0.3  # of the images, after the first epoch
    new: float = 0.5  # a: weight of the new images' gradients
    old: float = 1.0  # b: weight of the buffer's


class SparclReplay(Baseline):
    """Adds SparCL to a method that has a buffer and stands behind this one among the bases."""

    buffer: Buffer

    def __init__(self, build: Build, settings: Settings, shares: Shares | None = None) -> None:
        super().__init__(build, settings)
        self.shares = shares or Shares()
        self.weights = [parameter for parameter in self.network.parameters() if parameter.ndim >= 2]
        self.used: list[torch.Tensor] = []
        self.updated: list[torch.Tensor] = []
        self._mistakes: NDArray[np.int64] = np.zeros(0, np.int64)
        self._chosen: NDArray[np.int64] = np.zeros(0, np.int64)

    def begin_task(self, task: Task) -> None:
        self._mistakes = np.zeros(task.images, np.int64)
        self._chosen = np.arange(task.images)

    def begin_epoch(self, task: Task, epoch: int) -> NDArray[np.int64]:
        """Choose weights to use and to update, and the images of the epoch."""
        gradients = self._importance_of_gradients(task)
        share = 1 - self.shares.weights + (self.shares.extra if task.number else 0.0)
        if self.used and epoch:
            self._choose(gradients, share - self.shares.exchanged, only_used=True)
            self._choose([value * ~used for value, used in zip(gradients, self.used, strict=True)], share, keep=True)
        else:
            self._choose(gradients, share)
        self.updated = [
            top_share(value * used, 1 - self.shares.gradients) for value, used in zip(gradients, self.used, strict=True)
        ]
        if epoch == 1:
            easiest = np.argsort(self._mistakes, kind="stable")[: int(self.shares.removed * task.images)]
            self._chosen = np.setdiff1d(self._chosen, easiest)
        return self._chosen

    def end_task(self, task: Task) -> None:
        if task.number:
            self._choose(self._importance_of_gradients(task), 1 - self.shares.weights, only_used=True)

    def before_update(self, batch: Batch, logits: torch.Tensor) -> None:
        self.count_mistakes(batch, logits)
        for weight, updated in zip(self.weights, self.updated, strict=True):
            if weight.grad is not None:
                weight.grad.mul_(updated)

    def count_mistakes(self, batch: Batch, logits: torch.Tensor) -> None:
        """Remember which images are still hard; the network's logits have the shape ``(n, classes)``."""
        wrong = (logits.argmax(dim=1) != batch.labels).cpu().numpy()
        self._mistakes[batch.indices[wrong]] += 1

    def _choose(
        self, gradients: list[torch.Tensor], share: float, *, only_used: bool = False, keep: bool = False
    ) -> None:
        """Use the share of weights of the largest importance; all others become zero."""
        old, self.used = self.used, []
        with torch.no_grad():
            for number, (weight, gradient) in enumerate(zip(self.weights, gradients, strict=True)):
                importance = weight.abs() + gradient
                if only_used:
                    importance = importance * old[number]
                if keep:
                    importance = importance.masked_fill(old[number], torch.inf)
                self.used.append(top_share(importance, share))
                weight.mul_(self.used[-1])

    def _importance_of_gradients(self, task: Task) -> list[torch.Tensor]:
        """``a |dL_new/dw| + b |dL_buffer/dw|`` for every weight."""
        batch = next(task.batches(_IMPORTANCE_BATCH))
        self.network.zero_grad()
        add_gradients(masked_cross_entropy(self.network(batch.images), batch.labels, task.classes))
        found = [self.shares.new * _gradient(weight).abs() for weight in self.weights]
        if len(self.buffer):
            old = self.buffer.all()
            self.network.zero_grad()
            add_gradients(nn.cross_entropy(self.network(old.images), old.labels))
            for value, weight in zip(found, self.weights, strict=True):
                value.add_(_gradient(weight).abs(), alpha=self.shares.old)
        self.network.zero_grad()
        return found


class SparclEr(SparclReplay, Er):
    """Experience replay with masked weights, gradients and data."""


class SparclDerpp(SparclReplay, Derpp):
    """Dark experience replay with masked weights, gradients and data."""


def top_share(values: torch.Tensor, share: float) -> torch.Tensor:
    """Mark the share of largest values, of any shape, 0 or more; zeros are never marked."""
    return mark_largest(values.flatten(), share).view_as(values) & (values > 0)


def _gradient(weight: torch.nn.Parameter) -> torch.Tensor:
    return torch.zeros_like(weight) if weight.grad is None else weight.grad
