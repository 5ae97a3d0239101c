"""The same methods in Avalanche, for comparison only: the strategies a user of it would take, on the same work."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from lightcl_edge.errors import NoEngineError
from lightcl_profiler.methods.baseline import BaselineMethod
from lightcl_profiler.methods.contract import Job
from peers.peer import PeerMethod

if TYPE_CHECKING:
    import torch

    from lightcl_profiler.baselines.learning import Images


class AvalancheMethod(PeerMethod):
    """``Naive``, replay, online ``EWC``, or ``DER`` with ``batch_size_mem`` set, without which it replays nothing."""

    title: ClassVar[str] = "the same method in Avalanche"

    def import_library(self, job: Job) -> None:
        _import_avalanche()

    def lessons(self, job: Job, tasks: list[Images], classes: int) -> list[Callable[[], float]]:
        strategy = _strategy(job, self.network)
        stream = _stream([_Images(task.labels, task.load) for task in tasks])
        return [partial(_learn, strategy, experience) for experience in stream]


def _learn(strategy: Any, experience: Any) -> float:
    strategy.train(experience, num_workers=0)
    return float(strategy.loss.detach())


class BaselineBesideAvalanche(BaselineMethod):
    """Our baseline in a process that has imported Avalanche too: what then differs is the training alone."""

    title: ClassVar[str] = "our method, with the imports of Avalanche"

    def imports(self, job: Job) -> None:
        super().imports(job)
        _import_avalanche()


def _import_avalanche() -> None:
    from lightcl_models.torchvision_import import import_torchvision

    import_torchvision()
    try:
        import avalanche.training.supervised  # noqa: F401
    except ImportError as error:
        raise NoEngineError(f"avalanche can't be imported ({error}); pip install 'lightcl-edge[compare]'") from error


class _Images:
    """A task as Avalanche's loaders want it."""

    def __init__(self, labels: np.ndarray[Any, Any], load: Any) -> None:
        self.targets = [int(label) for label in labels]
        self._load = load

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return self._load(np.array([index]))[0], self.targets[index]


def _stream(tasks: list[_Images]) -> Any:
    from avalanche.benchmarks import benchmark_from_datasets
    from avalanche.benchmarks.utils.classification_dataset import _make_taskaware_classification_dataset

    datasets = [_make_taskaware_classification_dataset(task, task_labels=0) for task in tasks]
    return benchmark_from_datasets(train=datasets).train_stream


def _strategy(job: Job, network: torch.nn.Module) -> Any:
    import torch
    from avalanche.training import supervised

    options: dict[str, Any] = {
        "model": network,
        "optimizer": torch.optim.SGD(network.parameters(), lr=job.learning_rate),
        "criterion": torch.nn.CrossEntropyLoss(),
        "train_mb_size": job.batch_size,
        "train_epochs": job.epochs,
        "device": "cpu",
        "evaluator": None,
    }
    if job.method == "er":
        from avalanche.training.plugins import ReplayPlugin
        from avalanche.training.templates import SupervisedTemplate

        replay = ReplayPlugin(job.buffer_samples, batch_size=job.batch_size, batch_size_mem=job.buffer_samples)
        return SupervisedTemplate(plugins=[replay], **options)
    if job.method == "derpp":
        return supervised.DER(mem_size=job.buffer_samples, batch_size_mem=job.buffer_samples, **options)
    if job.method == "ewc":
        return supervised.EWC(ewc_lambda=10.0, mode="online", decay_factor=1.0, **options)
    return supervised.Naive(**options)
