"""DER++ (Buzzega et al., "Dark Experience for General Continual Learning", NeurIPS 2020), their equation 6.

Loss = CE(new batch) + alpha * MSE(logits, remembered logits) on one draw from a reservoir
+ beta * CE(remembered labels) on a second, independent draw. The reservoir keeps the logits the network gave
when an image was first seen. As in the authors' code each term has a forward and backward pass of its own: the
gradients add up, and the activations of only one term exist at a time.
"""

import torch
from torch.nn import functional as nn

from lightcl_profiler.baselines.buffer import Buffer, Remembered
from lightcl_profiler.baselines.contract import Baseline, Batch, Build, Settings, Task, add_gradients


class Derpp(Baseline):
    """Replay of images, logits and labels."""

    def __init__(self, build: Build, settings: Settings, alpha: float = 0.1, beta: float = 0.5) -> None:
        super().__init__(build, settings)
        self.alpha, self.beta = alpha, beta
        self.buffer = Buffer(settings.buffer_samples, settings.seed)

    def backward(self, task: Task, batch: Batch) -> tuple[float, torch.Tensor]:
        logits = self.network(batch.images)
        total = add_gradients(nn.cross_entropy(logits, batch.labels))
        if len(self.buffer):
            total += add_gradients(self.alpha * self._distance(self.buffer.sample(self.settings.buffer_samples)))
            old = self.buffer.sample(self.settings.buffer_samples)
            total += add_gradients(self.beta * nn.cross_entropy(self.network(old.images), old.labels))
        return total, logits.detach()

    def after_update(self, batch: Batch, logits: torch.Tensor) -> None:
        self.buffer.offer(batch.images, batch.labels, logits)

    def _distance(self, old: Remembered) -> torch.Tensor:
        if old.logits is None:
            raise AssertionError("a DER++ buffer always holds logits")
        return nn.mse_loss(self.network(old.images), old.logits)
