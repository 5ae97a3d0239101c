"""What every baseline does, and what it is given: one contract, so that all get the same work."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

#: Makes the network a method starts from; called once by most, once a task by progressive networks.
Build = Callable[[], torch.nn.Module]


@dataclass(frozen=True)
class Settings:
    """The same for all methods.

    Attributes:
        learning_rate: of plain SGD, without momentum or weight decay.
        buffer_samples: images a method may remember, over all tasks; as many are replayed a step.
        epochs: passes over each task.
        seed: of every random choice.
    """

    learning_rate: float = 0.01
    buffer_samples: int = 15
    epochs: int = 1
    seed: int = 0


@dataclass(frozen=True)
class Batch:
    """Some images of a task.

    Attributes:
        images: normalised, shape ``(n, 3, height, width)``.
        labels: rows of the classifier, shape ``(n,)``, int64.
        indices: positions of the images in their task, shape ``(n,)``.
    """

    images: torch.Tensor
    labels: torch.Tensor
    indices: NDArray[np.int64]


@dataclass(frozen=True)
class Task:
    """The task that is being learned.

    Attributes:
        number: 0 for the first.
        classes: rows of the classifier that are its own.
        images: how many it has.
        batches: walks once over its images, in a fixed order, in batches of at most the given size.
    """

    number: int
    classes: tuple[int, ...]
    images: int
    batches: Callable[[int], Iterator[Batch]]


class Baseline(ABC):
    """A way to train a whole network on one task after the other.

    Args:
        build: makes the network to start from, in training mode: images ``(n, 3, h, w)`` -> logits ``(n, classes)``.
        settings: the same for all methods.

    Attributes:
        joint: takes all tasks as one.
        class_incremental: can tell classes of different tasks apart without being told the task.
        needs_graph: looks inside the network, which must be a
            :class:`~lightcl_profiler.networks.graph_network.GraphNetwork`.
    """

    joint: ClassVar[bool] = False
    class_incremental: ClassVar[bool] = True
    needs_graph: ClassVar[bool] = False

    def __init__(self, build: Build, settings: Settings) -> None:
        self.settings = settings
        self.network = build()
        self.optimiser = self.make_optimiser()

    def make_optimiser(self) -> torch.optim.Optimizer:
        """Plain SGD over what can be trained."""
        trained = [parameter for parameter in self.parameters() if parameter.requires_grad]
        return torch.optim.SGD(trained, lr=self.settings.learning_rate)

    def start_network(self) -> torch.nn.Module:
        """The network it starts from, to be looked at."""
        return self.network

    def parameters(self) -> Iterator[torch.nn.Parameter]:
        """All parameters of the model."""
        return self.network.parameters()

    def begin_task(self, task: Task) -> None:
        """Prepare for a task, before its first step."""
        del task

    def begin_epoch(self, task: Task, epoch: int) -> NDArray[np.int64]:
        """Prepare for a pass over the task.

        Args:
            task: being learned.
            epoch: 0 for the first.

        Returns:
            Positions of the images that take part; all of them unless a method says otherwise.
        """
        del epoch
        return np.arange(task.images)

    @abstractmethod
    def step(self, task: Task, batch: Batch) -> float:
        """One step of training.

        Args:
            task: being learned.
            batch: some of its images.

        Returns:
            The loss before the step, all its terms together.
        """

    def end_task(self, task: Task) -> None:
        """Take along what is needed of a task, after its last step."""
        del task

    def logits(self, images: torch.Tensor, task: int | None = None) -> torch.Tensor:
        """Predict, in evaluation mode.

        Args:
            images: shape ``(n, 3, h, w)``.
            task: which task they belong to, for methods that must know it.

        Returns:
            Shape ``(n, classes)``.
        """
        del task
        self.network.eval()
        with torch.no_grad():
            logits: torch.Tensor = self.network(images)
        self.network.train()
        return logits


def masked_cross_entropy(logits: torch.Tensor, labels: torch.Tensor, classes: tuple[int, ...]) -> torch.Tensor:
    """Cross entropy over some rows of the classifier only: the task-incremental loss.

    Args:
        logits: shape ``(n, all classes)``.
        labels: each one of ``classes``, shape ``(n,)``.
        classes: the rows that take part.

    Returns:
        The mean over the samples.
    """
    rows = torch.tensor(classes, device=logits.device)
    position = torch.full((logits.shape[1],), -1, device=logits.device).scatter_(
        0, rows, torch.arange(len(classes), device=logits.device)
    )
    return torch.nn.functional.cross_entropy(logits[:, rows], position[labels])
