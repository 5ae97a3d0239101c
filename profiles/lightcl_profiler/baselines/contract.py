"""What every baseline does, and what it is given: one contract, so that all get the same work."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

#: Makes the network that a method starts from, in training mode: images ``(n, 3, h, w)`` -> logits ``(n, classes)``.
#: Most methods call it once, progressive networks once a task.
Build = Callable[[], torch.nn.Module]


@dataclass(frozen=True)
class Settings:
    """The same for all methods."""

    learning_rate: float = 0.01
    buffer_samples: int = 15  # images a method may remember over all tasks; as many are replayed in a step
    epochs: int = 1
    seed: int = 0


@dataclass(frozen=True)
class Batch:
    """Some images of a task."""

    images: torch.Tensor  # normalised (n, 3, height, width)
    labels: torch.Tensor  # rows of the classifier, (n,), int64
    indices: NDArray[np.int64]  # positions of the images in their task, (n,)


@dataclass(frozen=True)
class Task:
    """The task that is being learned."""

    number: int
    classes: tuple[int, ...]
    images: int
    batches: Callable[[int], Iterator[Batch]]  # once over its images, in a fixed order, in batches of at most a size


class Baseline(ABC):
    """A way to train a whole network on one task after the other."""

    joint: ClassVar[bool] = False  # takes all tasks as one
    class_incremental: ClassVar[bool] = True  # can tell classes of different tasks apart without being told the task
    needs_graph: ClassVar[bool] = False  # looks inside the network, which must be a GraphNetwork

    def __init__(self, build: Build, settings: Settings) -> None:
        self.settings = settings
        self.network = build()
        self.optimiser = self.make_optimiser()

    def make_optimiser(self) -> torch.optim.Optimizer:
        """Plain SGD over what can be trained."""
        trained = [parameter for parameter in self.parameters() if parameter.requires_grad]
        return torch.optim.SGD(trained, lr=self.settings.learning_rate)

    def start_network(self) -> torch.nn.Module:
        """The network before any training, to be looked at."""
        return self.network

    def parameters(self) -> Iterator[torch.nn.Parameter]:
        return self.network.parameters()

    def begin_task(self, task: Task) -> None:  # noqa: B027 - need not do anything
        """Prepare for a task, before its first step."""

    def begin_epoch(self, task: Task, epoch: int) -> NDArray[np.int64]:
        """Prepare for a pass over the task; gives the positions of the images that take part."""
        return np.arange(task.images)

    def step(self, task: Task, batch: Batch) -> float:
        """One step of training; gives the loss before it, all its terms together."""
        self.optimiser.zero_grad()
        loss, logits = self.backward(task, batch)
        self.before_update(batch, logits)
        self.optimiser.step()
        self.after_update(batch, logits)
        return loss

    @abstractmethod
    def backward(self, task: Task, batch: Batch) -> tuple[float, torch.Tensor]:
        """Add the gradients of all terms; gives the loss and the batch's logits ``(n, classes)`` without a graph."""

    def before_update(self, batch: Batch, logits: torch.Tensor) -> None:  # noqa: B027 - need not do anything
        """Between the backward pass and the update of the weights."""

    def after_update(self, batch: Batch, logits: torch.Tensor) -> None:  # noqa: B027 - need not do anything
        """After the update; the logits are those before it."""

    def end_task(self, task: Task) -> None:  # noqa: B027 - need not do anything
        """Take along what is needed of a task, after its last step."""

    def logits(self, images: torch.Tensor, task: int | None = None) -> torch.Tensor:
        """Predict, in evaluation mode: images ``(n, 3, h, w)`` -> logits ``(n, classes)``."""
        self.network.eval()
        with torch.no_grad():
            logits: torch.Tensor = self.network(images)
        self.network.train()
        return logits


def add_gradients(loss: torch.Tensor) -> float:
    """Go back through one term of a loss; its activations are free afterwards."""
    loss.backward()  # type: ignore[no-untyped-call]
    return float(loss.detach())


def mark_largest(values: torch.Tensor, share: float) -> torch.Tensor:
    """Booleans for a vector: true for its share of largest values, at least one."""
    marked = torch.zeros(len(values), dtype=torch.bool, device=values.device)
    marked[values.topk(max(1, round(share * len(values)))).indices] = True
    return marked


def masked_cross_entropy(logits: torch.Tensor, labels: torch.Tensor, classes: tuple[int, ...]) -> torch.Tensor:
    """Cross entropy of logits ``(n, all classes)`` over some classes only: the task-incremental loss."""
    rows = torch.tensor(classes, device=logits.device)
    position = torch.full((logits.shape[1],), -1, device=logits.device).scatter_(
        0, rows, torch.arange(len(classes), device=logits.device)
    )
    return torch.nn.functional.cross_entropy(logits[:, rows], position[labels])
