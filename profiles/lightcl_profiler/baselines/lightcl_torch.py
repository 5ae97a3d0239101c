"""LightCL as its reference does it (Wang et al., ASP-DAC 2025): the whole network in PyTorch, its trunk frozen.

The trunk runs for every batch, without gradients but with BatchNorm in training mode. Cross entropy runs over the
task's own classes. From the second task on, the first samples of its first batch pass through the old network; what
then comes out of each activation after the cut, and the logits, are patterns. Every step adds
``beta * sum mask (activation - pattern)^2``; masks mark, for each activation, the ``ratio`` of channels with the
largest sum of absolute values, joined over tasks by a logical or.

The term has a forward and backward pass of its own, as the reference's has; gradients add up. The reference's
anomaly mode is left out: it is a debugging aid that costs memory and time.
"""

from typing import ClassVar

import torch

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
from lightcl_profiler.networks.graph_network import GraphNetwork

_LOGITS = "logits of the network"


class LightClTorch(Baseline):
    """Frozen trunk, feature patterns held."""

    needs_graph: ClassVar[bool] = True
    network: GraphNetwork

    def __init__(self, build: Build, settings: Settings, beta: float = 0.0002, ratio: float = 0.15) -> None:
        super().__init__(build, settings)
        self.beta, self.ratio = beta, ratio
        self.masks: dict[str, torch.Tensor] = {}
        self._images: torch.Tensor | None = None
        self._patterns: dict[str, torch.Tensor] = {}

    def make_optimiser(self) -> torch.optim.Optimizer:
        self.network.freeze_trunk()
        return super().make_optimiser()

    def begin_task(self, task: Task) -> None:
        """From the second task on: memorise patterns of a few of its samples, mark their channels."""
        self._images = None
        if task.number == 0 or not self.settings.buffer_samples:
            return
        self._images = next(task.batches(self.settings.buffer_samples)).images
        with torch.no_grad():
            self._patterns = self._look(self._images)
        for name, values in self._patterns.items():
            if name != _LOGITS:
                marked = important_channels(values, self.ratio)
                self.masks[name] = self.masks.get(name, torch.zeros_like(marked)) | marked

    def backward(self, task: Task, batch: Batch) -> tuple[float, torch.Tensor]:
        logits = self.network(batch.images)
        loss = add_gradients(masked_cross_entropy(logits, batch.labels, task.classes))
        logits = logits.detach()
        if self._images is not None:
            loss += add_gradients(self.beta * self.distance(self._images))
        return loss, logits

    def distance(self, images: torch.Tensor) -> torch.Tensor:
        """The sum of squared changes of the patterns in marked channels, a number."""
        total = torch.zeros((), device=images.device)
        for name, values in self._look(images).items():
            changes = (values - self._patterns[name]).square()
            if name == _LOGITS:
                total = total + changes.sum()
            else:
                per_channel = changes.sum(dim=[axis for axis in range(changes.ndim) if axis != 1])
                total = total + (per_channel * self.masks[name]).sum()
        return total

    def _look(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        """Activations after the cut and logits."""
        logits, found = self.network.activations(images)
        return {**found, _LOGITS: logits}


def important_channels(values: torch.Tensor, ratio: float) -> torch.Tensor:
    """Mark the share of channels of ``(n, channels, ...)`` with the largest sum of absolute activations."""
    return mark_largest(values.abs().sum(dim=[axis for axis in range(values.ndim) if axis != 1]), ratio)
