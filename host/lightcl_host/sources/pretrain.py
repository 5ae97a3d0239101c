"""Train a whole network on labelled images, before a benchmark or for a bundle.

This is the plain recipe of small image classifiers: SGD with Nesterov momentum, random shifts and mirror images (He et
al. 2016), label smoothing (Szegedy et al. 2016), and a learning rate that rises for a twentieth of the steps and then
falls along a cosine (Loshchilov and Hutter 2017).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lightcl_edge.bundle.manifest import InputInfo
from lightcl_edge.console.progress import Progress
from lightcl_edge.console.text import Document
from lightcl_edge.data.dataset import Dataset
from lightcl_edge.data.specification import open_dataset
from lightcl_edge.errors import UsageError
from lightcl_edge.files.durable import replace_durably
from lightcl_edge.files.tensors import IntArray
from lightcl_edge.inference.trunk import normalise
from lightcl_host.sources.options import SourceOptions
from lightcl_host.sources.source import adjusted_input

if TYPE_CHECKING:
    import torch

_MOMENTUM, _WEIGHT_DECAY, _SMOOTHING = 0.9, 5e-4, 0.1
_WARM_UP = 0.05
#: Images are shifted by up to this share of their side.
_SHIFT = 0.125
_TEST_BATCH = 128


@dataclass(frozen=True)
class PretrainOptions:
    """What to train."""

    source: SourceOptions  # the network and its start weights
    data: str  # specification of the training images
    test_data: str | None  # specification of the images to test on after each epoch, or None
    epochs: int  # passes over the data
    batch_size: int  # images a step
    learning_rate: float  # the highest
    out: Path  # a ``.safetensors`` file
    threads: int | None = None  # of torch; None for its own choice


def pretrain(options: PretrainOptions, progress: Progress) -> Document:
    """Train, and write the weights after every epoch; returns what ``pretrain --json`` prints."""
    import torch

    from lightcl_models.checkpoints import replace_classifier
    from lightcl_models.registry import load_model

    source = options.source
    if source.model.endswith(".onnx"):
        raise UsageError(f"--model {source.model}: an .onnx file can't be pretrained, expected a named model")
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    data = open_dataset(options.data)
    test = None if options.test_data is None else open_dataset(options.test_data)
    if test is not None and test.classes != data.classes:
        raise UsageError(f"the test images have classes {test.classes[:5]}, the training images {data.classes[:5]}")
    loaded = load_model(source.model, source.weights, source.seed)
    torch.manual_seed(source.seed)
    replace_classifier(loaded.module, len(data.classes))
    device = "cuda" if torch.cuda.is_available() else "cpu"
    info = adjusted_input(loaded.input_info, source)
    run = _Pretraining(options, loaded.module.to(device), info, data, test, device)
    epochs = [run.epoch(number, progress) for number in range(options.epochs)]
    return {
        "out": str(options.out),
        "model": source.model,
        "classes": data.classes,
        "images": len(data),
        "device": device,
        "epochs": epochs,
        "accuracy": epochs[-1]["accuracy"],
    }


class _Pretraining:
    """The network, its optimiser and its data."""

    def __init__(
        self,
        options: PretrainOptions,
        module: torch.nn.Module,
        info: InputInfo,
        data: Dataset,
        test: Dataset | None,
        device: str,
    ) -> None:
        import torch

        self._options, self._module, self._info = options, module, info
        self._data, self._test, self._device = data, test, device
        self._random = np.random.default_rng(options.source.seed)
        self._optimiser = torch.optim.SGD(
            module.parameters(),
            lr=options.learning_rate,
            momentum=_MOMENTUM,
            weight_decay=_WEIGHT_DECAY,
            nesterov=True,
        )
        steps = options.epochs * max(math.ceil(len(data) / options.batch_size), 1)
        rising = max(round(_WARM_UP * steps), 1)
        schedules = torch.optim.lr_scheduler
        self._schedule = schedules.SequentialLR(
            self._optimiser,
            [
                schedules.LinearLR(self._optimiser, start_factor=1 / rising, total_iters=max(rising - 1, 1)),
                schedules.CosineAnnealingLR(self._optimiser, T_max=max(steps - rising, 1)),
            ],
            milestones=[rising],
        )

    def epoch(self, number: int, progress: Progress) -> Document:
        """Pass once over the data, then write the weights."""
        import torch

        self._module.train()
        order = self._random.permutation(len(self._data))
        size, total, count = self._options.batch_size, 0.0, 0
        starts = range(0, len(order), size)
        for start in progress.track(starts, f"epoch {number + 1} of {self._options.epochs}"):
            rows = order[start : start + size]
            if len(rows) == 1 and len(order) > 1:
                continue  # BatchNorm has no statistics of one value
            self._optimiser.zero_grad()
            labels = torch.from_numpy(self._data.labels[rows]).to(self._device)
            logits = self._module(augment(self._images(self._data, rows), self._random))
            loss = torch.nn.functional.cross_entropy(logits, labels, label_smoothing=_SMOOTHING)
            loss.backward()  # type: ignore[no-untyped-call]
            self._optimiser.step()
            self._schedule.step()
            total, count = total + float(loss.detach()) * len(rows), count + len(rows)
        self._save()
        found = {"epoch": number + 1, "loss": total / max(count, 1), "accuracy": self._accuracy()}
        tested = "" if found["accuracy"] is None else f", test accuracy {found['accuracy']:.1%}"
        progress.note(f"epoch {number + 1} of {self._options.epochs}: loss {found['loss']:.3f}{tested}")
        return found

    def _images(self, data: Dataset, rows: IntArray) -> torch.Tensor:
        import torch

        pixels = np.stack([data.load(int(row), self._info) for row in rows])
        return torch.from_numpy(normalise(pixels, self._info)).to(self._device)

    def _accuracy(self) -> float | None:
        """The share of test images that the network names correctly; None without test images."""
        import torch

        if self._test is None:
            return None
        self._module.eval()
        right = 0
        with torch.no_grad():
            for start in range(0, len(self._test), _TEST_BATCH):
                rows = np.arange(start, min(start + _TEST_BATCH, len(self._test)))
                found = self._module(self._images(self._test, rows)).argmax(dim=1).cpu().numpy()
                right += int((found == self._test.labels[rows]).sum())
        return right / len(self._test)

    def _save(self) -> None:
        from safetensors.torch import save

        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in self._module.state_dict().items()}
        replace_durably(self._options.out, save(tensors))


def augment(images: torch.Tensor, random: np.random.Generator) -> torch.Tensor:
    """Shift normalised images ``(n, 3, h, w)`` and mirror half of them; what moves in has the mean colour."""
    import torch

    height, width = images.shape[2:]
    most = max(round(_SHIFT * min(height, width)), 1)
    padded = torch.nn.functional.pad(images, [most] * 4)
    tops, lefts = random.integers(0, 2 * most + 1, (2, len(images)))
    mirrored = random.random(len(images)) < 0.5
    found = [padded[i, :, tops[i] : tops[i] + height, lefts[i] : lefts[i] + width] for i in range(len(images))]
    return torch.stack([part.flip(2) if mirror else part for part, mirror in zip(found, mirrored, strict=True)])
