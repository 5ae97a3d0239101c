"""FDR (Benjamin et al., "Measuring and Regularizing Networks in Function Space", ICLR 2019).

The distance of two networks is the L2 distance of their answers on images from earlier tasks,
``(1/N sum_i |f(x_i) - f_old(x_i)|^2)^(1/2)``; alpha times it joins the loss. Answers are class probabilities. At the
end of a task the buffer is shared equally among the tasks so far, with the answers of the network as it then is.
"""

import torch
from torch.nn import functional as nn

from lightcl_profiler.baselines.buffer import Buffer
from lightcl_profiler.baselines.contract import Batch, Build, Settings, Task, add_gradients
from lightcl_profiler.baselines.sgd import Sgd

#: The square root's slope is infinite at 0, where a network that has not moved yet starts.
_SMALLEST_SQUARE = 1e-12


class Fdr(Sgd):
    """Regularisation in function space; both terms go back on their own, as their gradients add up."""

    def __init__(self, build: Build, settings: Settings, alpha: float = 0.3) -> None:
        super().__init__(build, settings)
        self.alpha = alpha
        self.buffer = Buffer(settings.buffer_samples, settings.seed)
        self._task_of: list[int] = []

    def backward(self, task: Task, batch: Batch) -> tuple[float, torch.Tensor]:
        loss, logits = super().backward(task, batch)
        if len(self.buffer):
            loss += add_gradients(self.alpha * self.distance())
        return loss, logits

    def distance(self) -> torch.Tensor:
        """How far the network's answers on a draw of remembered images have moved, a number."""
        old = self.buffer.sample(self.settings.buffer_samples)
        if old.logits is None:
            raise AssertionError("an FDR buffer always holds logits")
        moved = nn.softmax(self.network(old.images), dim=1) - nn.softmax(old.logits, dim=1)
        return moved.square().sum(dim=1).mean().clamp_min(_SMALLEST_SQUARE).sqrt()

    def end_task(self, task: Task) -> None:
        """Make room among the earlier tasks' images, then fill it with this task's and their present logits."""
        share = self.buffer.capacity // (task.number + 1)
        places = {
            number: [at for at, of in enumerate(self._task_of) if of == number][:share] for number in self._task_of
        }
        kept = [at for rows in places.values() for at in rows]
        self.buffer.keep(kept)
        self._task_of = [self._task_of[at] for at in kept]
        if share:
            first = next(task.batches(share))
            self.buffer.offer(first.images, first.labels, self.logits(first.images))
            self._task_of += [task.number] * len(first.labels)
