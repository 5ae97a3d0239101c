"""The same methods in Avalanche, for comparison only: the strategies a user of it would take, on the same work."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from lightcl_edge.errors import NoEngineError
from lightcl_edge.machine.process_memory import PhaseMeter
from lightcl_profiler.methods.baseline import BaselineMethod, load_tasks
from lightcl_profiler.methods.contract import Job, Method, Outcome, outcome

if TYPE_CHECKING:
    import torch


class AvalancheMethod(Method):
    """``Naive``, replay, online ``EWC``, or ``DER`` with ``batch_size_mem`` set, without which it replays nothing."""

    title: ClassVar[str] = "the same method in Avalanche"

    def imports(self, job: Job) -> None:
        import torch

        from lightcl_profiler.networks.whole_network import import_builder

        torch.set_num_threads(job.threads)
        _import_avalanche()
        import_builder(Path(job.bundle))

    def run(self, job: Job, meter: PhaseMeter) -> Outcome:
        import torch

        from lightcl_profiler.networks.whole_network import load_whole_network

        torch.manual_seed(job.seed)
        with meter.phase("load"):
            tasks, classes, _ = load_tasks(job, "cpu", together=False)
            self.network, _ = load_whole_network(Path(job.bundle), classes)
            strategy = _strategy(job, self.network)
            stream = _stream([_Images(task.labels, task.load) for task in tasks])
        for experience in stream:
            with meter.phase("train"):
                strategy.train(experience, num_workers=0)
        return outcome(sum(len(task.labels) for task in tasks), float(strategy.loss.detach()), ["Avalanche"])


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
