"""ER and DER++ of Mammoth, for comparison only: its models on the same network and batches, without augmentation.

Mammoth is used from a checkout on ``PYTHONPATH``, as its authors use it.
"""

from __future__ import annotations

import importlib
from argparse import Namespace
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from lightcl_edge.errors import NoEngineError
from lightcl_profiler.methods.contract import Job
from peers.peer import PeerMethod

if TYPE_CHECKING:
    import torch

    from lightcl_profiler.baselines.learning import Images

#: As our DER++.
_ALPHA, _BETA = 0.1, 0.5


class MammothMethod(PeerMethod):
    """``models.er`` or ``models.derpp``, by the job's name."""

    title: ClassVar[str] = "the same method in Mammoth"

    def import_library(self, job: Job) -> None:
        from lightcl_models.torchvision_import import import_torchvision

        import_torchvision()
        try:
            importlib.import_module(f"models.{job.method}")
        except ImportError as error:
            raise NoEngineError(f"Mammoth can't be imported ({error}); name a checkout of it") from error

    def lessons(self, job: Job, tasks: list[Images], classes: int) -> list[Callable[[], float]]:
        model, order = _model(job, self.network, classes), np.random.default_rng(job.seed)
        return [partial(_learn, job, model, images, order) for images in tasks]


def _learn(job: Job, model: Any, images: Images, order: np.random.Generator) -> float:
    from lightcl_profiler.baselines.learning import epoch_rows

    loss = 0.0
    for _ in range(job.epochs):
        for rows in epoch_rows(np.arange(len(images.labels)), job.batch_size, order):
            batch = images.batch(rows)
            loss = model.observe(batch.images, batch.labels, batch.images)
    return loss


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
