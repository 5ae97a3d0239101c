"""SGD: the whole network trained on each task in turn, nothing done against forgetting.

The lower bound of continual learning papers and the plainest PyTorch loop there is: all layers and
BatchNorm in training mode, plain SGD without momentum, cross entropy over all classes of the profile.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray

from lightcl_edge.errors import NoEngineError
from lightcl_edge.memory import PhaseMeter
from lightcl_profiler.methods.contract import Job, Method, Outcome, outcome

if TYPE_CHECKING:
    import torch

    from lightcl_edge.images import Dataset
    from lightcl_edge.manifest import InputInfo


class SgdMethod(Method):
    """The whole network, PyTorch, plain SGD."""

    title: ClassVar[str] = "whole network trained by plain SGD in PyTorch, BatchNorm in training mode"

    def imports(self, job: Job) -> None:
        """Torch and what builds the network: the model library where the bundle has no ``model.onnx``."""
        try:
            import torch
        except ImportError as error:
            raise NoEngineError(
                f"method sgd needs torch ({error}); pip install 'lightcl-edge[torch]', or use --methods lightcl"
            ) from error

        from lightcl_profiler.whole_network import import_builder

        torch.set_num_threads(job.threads)
        import_builder(Path(job.bundle))

    def run(self, job: Job, meter: PhaseMeter) -> Outcome:
        """Train all layers on each task."""
        import torch

        from lightcl_edge.images import open_dataset
        from lightcl_profiler.whole_network import load_whole_network

        torch.manual_seed(job.seed)
        with meter.phase("load"):
            datasets = [open_dataset(task) for task in job.tasks]
            classes = list(dict.fromkeys(name for data in datasets for name in data.classes))
            network = load_whole_network(Path(job.bundle), len(classes))
        generator = np.random.default_rng(job.seed)
        optimiser = torch.optim.SGD(network.module.parameters(), lr=job.learning_rate)
        loss = 0.0
        for data in datasets:
            rows = np.array([classes.index(name) for name in data.classes], np.int64)
            with meter.phase("train"):
                for _ in range(job.epochs):
                    batches = _batches(data, rows, job.batch_size, network.input, generator)
                    loss = _epoch(network.module, optimiser, batches)
        return outcome(sum(len(data) for data in datasets), loss, [network.origin])


def _batches(
    data: Dataset, rows: NDArray[np.int64], size: int, info: InputInfo, generator: np.random.Generator
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Shuffled batches, decoded as they are needed as a PyTorch loader does.

    A last batch of one image is left out: BatchNorm has no statistics of one value.
    """
    import torch

    from lightcl_edge.images import normalise

    order = generator.permutation(len(data))
    for start in range(0, len(order), size):
        chosen = order[start : start + size]
        if len(chosen) == 1 and len(order) > 1:
            continue
        images = np.stack([data.load(int(i), info) for i in chosen])
        yield torch.from_numpy(normalise(images, info)), torch.from_numpy(rows[data.labels[chosen]])


def _epoch(
    module: torch.nn.Module,
    optimiser: torch.optim.Optimizer,
    batches: Iterator[tuple[torch.Tensor, torch.Tensor]],
) -> float:
    """One pass; returns the mean loss over its images."""
    import torch

    total, count = 0.0, 0
    for images, labels in batches:
        optimiser.zero_grad()
        loss = torch.nn.functional.cross_entropy(module(images), labels)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        total, count = total + float(loss.detach()) * len(labels), count + len(labels)
    return total / max(count, 1)
