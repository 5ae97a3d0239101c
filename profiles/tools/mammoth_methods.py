"""ER and DER++ of Mammoth, for comparison only: its models on the same network and batches, without augmentation.

Mammoth is used from a checkout on ``PYTHONPATH``, as its authors use it.
"""

from __future__ import annotations

import importlib
from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from lightcl_edge.errors import NoEngineError
from lightcl_edge.machine.process_memory import PhaseMeter
from lightcl_profiler.methods.baseline import load_tasks
from lightcl_profiler.methods.contract import Job, Method, Outcome, outcome

if TYPE_CHECKING:
    import torch

#: As our DER++.
_ALPHA, _BETA = 0.1, 0.5


class MammothMethod(Method):
    """``models.er`` or ``models.derpp``, by the job's name."""

    title: ClassVar[str] = "the same method in Mammoth"

    def imports(self, job: Job) -> None:
        import torch

        from lightcl_models.torchvision_import import import_torchvision
        from lightcl_profiler.networks.whole_network import import_builder

        torch.set_num_threads(job.threads)
        import_torchvision()
        try:
            importlib.import_module(f"models.{job.method}")
        except ImportError as error:
            raise NoEngineError(f"Mammoth can't be imported ({error}); name a checkout of it") from error
        import_builder(Path(job.bundle))

    def run(self, job: Job, meter: PhaseMeter) -> Outcome:
        import torch

        from lightcl_profiler.baselines.learning import epoch_rows
        from lightcl_profiler.networks.whole_network import load_whole_network

        torch.manual_seed(job.seed)
        with meter.phase("load"):
            tasks, classes, _ = load_tasks(job, "cpu", together=False)
            self.network, _ = load_whole_network(Path(job.bundle), classes)
            model = _model(job, self.network, classes)
        order, loss = np.random.default_rng(job.seed), 0.0
        for images in tasks:
            with meter.phase("train"):
                for _ in range(job.epochs):
                    for rows in epoch_rows(np.arange(len(images.labels)), job.batch_size, order):
                        batch = images.batch(rows)
                        loss = model.observe(batch.images, batch.labels, batch.images)
        return outcome(sum(len(task.labels) for task in tasks), loss, ["Mammoth"])


def _model(job: Job, network: torch.nn.Module, classes: int) -> Any:
    import torch

    about = Namespace(N_CLASSES=classes, N_TASKS=len(job.tasks), SETTING="class-il", N_CLASSES_PER_TASK=0)
    options = Namespace(
        lr=job.learning_rate,
        optimizer="sgd",
        optim_wd=0.0,
        optim_mom=0.0,
        optim_nesterov=False,
        label_perc=1,
        buffer_size=job.buffer_samples,
        minibatch_size=job.buffer_samples,
        alpha=_ALPHA,
        beta=_BETA,
    )
    kind = getattr(importlib.import_module(f"models.{job.method}"), job.method.capitalize())
    model = kind(network, torch.nn.CrossEntropyLoss(), options, None, about)
    model.to(torch.device("cpu"))
    return model
