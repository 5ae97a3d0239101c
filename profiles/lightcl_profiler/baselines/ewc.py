"""Online EWC (Kirkpatrick et al., PNAS 2017; Schwarz et al., "Progress & Compress", ICML 2018).

Loss = CE(new batch) + strength / 2 * sum_i F_i (theta_i - theta*_i)^2. ``theta*`` are the parameters at the end of
the last task; ``F``, the diagonal of the empirical Fisher information, is the mean squared gradient of
log p(label | image) over samples of a task, and ``F = decay * F + F_task`` from task to task.
"""

from itertools import islice

import torch
from torch.nn import functional as nn

from lightcl_profiler.baselines.contract import Batch, Build, Settings, Task, add_gradients
from lightcl_profiler.baselines.sgd import Sgd


class Ewc(Sgd):
    """Elastic weight consolidation with one running Fisher diagonal."""

    def __init__(
        self,
        build: Build,
        settings: Settings,
        strength: float = 20.0,
        decay: float = 1.0,
        fisher_samples: int = 100,
        fisher_batch: int = 1,  # 1 is the definition; more images square the mean gradient of a batch
    ) -> None:
        super().__init__(build, settings)
        self.strength, self.decay = strength, decay
        self.fisher_samples, self.fisher_batch = fisher_samples, fisher_batch
        self.fisher: list[torch.Tensor] = []
        self.anchor: list[torch.Tensor] = []

    def backward(self, task: Task, batch: Batch) -> tuple[float, torch.Tensor]:
        loss, logits = super().backward(task, batch)
        return loss + self._pull(), logits

    def _pull(self) -> float:
        """Add the penalty's gradient ``strength F (theta - theta*)``, one tensor at a time; gives the penalty."""
        penalty = 0.0
        with torch.no_grad():
            for parameter, fisher, anchor in zip(self.parameters(), self.fisher, self.anchor, strict=False):
                moved = parameter - anchor
                force = fisher * moved
                penalty += float((force * moved).sum())
                if parameter.grad is not None:
                    parameter.grad.add_(force, alpha=self.strength)
        return self.strength / 2 * penalty

    def end_task(self, task: Task) -> None:
        """Add the task's Fisher information to the running one, keep the parameters."""
        self.anchor = []  # not needed any more: its memory is given back before the estimate
        if not self.fisher:
            self.fisher = [torch.zeros_like(parameter) for parameter in self.parameters()]
        for running in self.fisher:
            running.mul_(self.decay)
        self._add_information(task)
        self.anchor = [parameter.detach().clone() for parameter in self.parameters()]

    def _add_information(self, task: Task) -> None:
        """Add the mean squared gradient over the task's first samples, the network in evaluation mode."""
        gradients = -(-min(self.fisher_samples, task.images) // self.fisher_batch)
        self.network.eval()
        for batch in islice(task.batches(self.fisher_batch), gradients):
            self.optimiser.zero_grad()
            add_gradients(nn.cross_entropy(self.network(batch.images), batch.labels))
            for running, parameter in zip(self.fisher, self.parameters(), strict=True):
                if parameter.grad is not None:
                    running.addcmul_(parameter.grad, parameter.grad, value=1 / gradients)
        self.network.train()
        self.optimiser.zero_grad()
