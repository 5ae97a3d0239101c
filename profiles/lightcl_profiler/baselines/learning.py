"""Drives a baseline over tasks: the same batches in the same order for every method."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from lightcl_profiler.baselines.contract import Baseline, Batch, Task


@dataclass(frozen=True)
class Images:
    """Images of a task, read when they are needed."""

    labels: NDArray[np.int64]  # rows of the classifier, (n,)
    load: Callable[[NDArray[np.int64]], torch.Tensor]  # positions (k,) -> normalised images (k, 3, height, width)
    device: str = "cpu"

    def batch(self, rows: NDArray[np.int64]) -> Batch:
        """The images at some positions."""
        labels = torch.from_numpy(self.labels[rows]).to(self.device)
        return Batch(self.load(rows).to(self.device), labels, rows)

    def in_order(self, size: int) -> Iterator[Batch]:
        """All images in batches, in one fixed order that mixes the classes."""
        order = np.random.default_rng(0).permutation(len(self.labels))
        for start in range(0, len(order), size):
            yield self.batch(order[start : start + size])

    def task(self, number: int) -> Task:
        """As a baseline sees it."""
        return Task(number, tuple(sorted(set(self.labels.tolist()))), len(self.labels), self.in_order)


def epoch_rows(chosen: NDArray[np.int64], size: int, generator: np.random.Generator) -> Iterator[NDArray[np.int64]]:
    """Shuffled positions in batches; a last batch of one image is left out: BatchNorm needs two values."""
    order = generator.permutation(chosen)
    for start in range(0, len(order), size):
        rows = order[start : start + size]
        if len(rows) > 1 or len(order) == 1:
            yield rows


def learn_task(
    baseline: Baseline, images: Images, number: int, batch_size: int, generator: np.random.Generator
) -> float:
    """Learn one task; gives the mean loss over the images of the last epoch."""
    task = images.task(number)
    baseline.begin_task(task)
    mean = 0.0
    for epoch in range(baseline.settings.epochs):
        total, count = 0.0, 0
        for rows in epoch_rows(baseline.begin_epoch(task, epoch), batch_size, generator):
            total += baseline.step(task, images.batch(rows)) * len(rows)
            count += len(rows)
        mean = total / max(count, 1)
    baseline.end_task(task)
    return mean
