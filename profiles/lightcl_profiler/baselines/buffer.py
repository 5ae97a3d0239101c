"""A bounded memory of images, filled by reservoir sampling (Vitter 1985)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch


@dataclass(frozen=True)
class Remembered:
    """Samples from the buffer, with what the network said when they were stored."""

    images: torch.Tensor  # (n, 3, h, w)
    labels: torch.Tensor  # (n,)
    logits: torch.Tensor | None = None  # (n, classes); None where none are kept


class Buffer:
    """Keeps a uniform sample of all it was ever offered."""

    def __init__(self, capacity: int, seed: int) -> None:
        self.capacity = capacity
        self._random = np.random.default_rng(seed)
        self._offered = 0
        self._images: list[torch.Tensor] = []
        self._labels: list[torch.Tensor] = []
        self._logits: list[torch.Tensor] = []

    def __len__(self) -> int:
        return len(self._images)

    def offer(self, images: torch.Tensor, labels: torch.Tensor, logits: torch.Tensor | None = None) -> None:
        """Show the samples of a batch, one after the other: the i-th ever is kept with probability capacity / i."""
        for row in range(len(images)):
            self._offered += 1
            place = len(self._images)
            if place >= self.capacity:
                place = int(self._random.integers(self._offered))
                if place >= self.capacity:
                    continue
            kept = [(self._images, images), (self._labels, labels)]
            kept += [(self._logits, logits)] if logits is not None else []
            for store, values in kept:
                store[place : place + 1] = [values[row].detach().clone()]

    def sample(self, count: int) -> Remembered:
        """Draw at most ``count`` samples without replacement; the buffer must not be empty."""
        return self._take(self._random.permutation(len(self))[:count].tolist())

    def all(self) -> Remembered:
        """Everything, in order."""
        return self._take(range(len(self)))

    def _take(self, rows: Sequence[int]) -> Remembered:
        images, labels = ([store[row] for row in rows] for store in (self._images, self._labels))
        logits = torch.stack([self._logits[row] for row in rows]) if self._logits else None
        return Remembered(torch.stack(images), torch.stack(labels), logits)

    def keep(self, rows: list[int]) -> None:
        """Forget all but some."""
        for store in (self._images, self._labels, self._logits):
            if store:
                store[:] = [store[row] for row in rows]
