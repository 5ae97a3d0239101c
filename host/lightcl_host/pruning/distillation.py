"""Teach a pruned network to answer as it did before, and measure what is lost.

The images' own classes are rarely the network's, so the pruned network learns the original's logits (Hinton et al.
2015, "Distilling the Knowledge in a Neural Network"). For continual learning, what counts is how well classes can be
told apart from the network's features. So the accuracy that is reported is that of a ridge classifier on the
penultimate features. It is fitted on the images that distillation sees, and tested on others.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lightcl_edge.bundle.manifest import InputInfo
from lightcl_edge.console.progress import Progress
from lightcl_edge.data.specification import open_dataset
from lightcl_edge.errors import DataError
from lightcl_edge.files.tensors import FloatArray
from lightcl_edge.inference.trunk import normalise

if TYPE_CHECKING:
    import torch


#: At most this many images are loaded, and every fourth of them only tests.
_IMAGES, _TEST_EVERY = 640, 4
_BATCH, _LEARNING_RATE, _TEMPERATURE = 32, 5e-4, 2.0
#: Of the ridge classifier, on standardised features, times the number of samples.
_JUDGING_RIDGE = 0.1


@dataclass(frozen=True)
class LabelledImages:
    """Images of the classes that the device will see."""

    images: FloatArray  # normalised, shape ``(n, 3, height, width)``
    labels: NDArray[np.int64]  # class of each, shape ``(n,)``
    tests: NDArray[np.bool_]  # True for images that only test, shape ``(n,)``


def labelled_images(spec: str, info: InputInfo, seed: int) -> LabelledImages:
    """Images chosen at random from a data specification; DataError when too few can be read."""
    dataset = open_dataset(spec)
    pixels, labels = [], []
    for index in np.random.default_rng([seed, 1]).permutation(len(dataset))[:_IMAGES]:
        try:
            pixels.append(dataset.load(int(index), info))
        except DataError:
            continue
        labels.append(int(dataset.labels[index]))
    if len(pixels) < 2 * _TEST_EVERY:
        raise DataError(
            f"{spec}: found {len(pixels)} readable images to distil with, expected {2 * _TEST_EVERY} or more"
        )
    tests = np.arange(len(pixels)) % _TEST_EVERY == 0
    return LabelledImages(normalise(np.stack(pixels), info), np.asarray(labels, np.int64), tests)


def distil(
    module: torch.nn.Module, original: torch.nn.Module, data: LabelledImages, epochs: int, seed: int, progress: Progress
) -> None:
    """Train a pruned network, in place, to give the original's logits; batch normalisation learns new statistics.

    Each of the ``epochs`` passes once over the images that do not test, mirrored at random. The seed sets order and
    mirroring.
    """
    import torch

    images = torch.from_numpy(data.images[~data.tests])
    generator = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.Adam(module.parameters(), lr=_LEARNING_RATE)
    _train_batch_norm(module)
    steps = [
        order for _ in range(epochs) for order in torch.split(torch.randperm(len(images), generator=generator), _BATCH)
    ]
    progress.stage(f"learning the original's answers: {len(steps)} steps")
    for order in progress.track(steps, "learning the original's answers"):
        batch = images[order]
        if torch.rand(1, generator=generator).item() < 0.5:
            batch = batch.flip(-1)
        if len(batch) < 2:
            continue
        with torch.no_grad():
            wanted = (original(batch) / _TEMPERATURE).softmax(dim=1)
        found = (module(batch) / _TEMPERATURE).log_softmax(dim=1)
        loss = torch.nn.functional.kl_div(found, wanted, reduction="batchmean")
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    module.eval()


def _train_batch_norm(module: torch.nn.Module) -> None:
    """Let the statistics of batch normalisation change; dropout stays off."""
    from torch import nn

    module.eval()
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.train()


def probe_accuracy(module: torch.nn.Module, data: LabelledImages) -> float:
    """Share of the test images that a ridge classifier on the penultimate features names correctly.

    The module must end in a linear layer.
    """
    from sklearn.linear_model import RidgeClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    features, fitted = _penultimate(module, data.images).astype(np.float64), ~data.tests
    probe = make_pipeline(StandardScaler(), RidgeClassifier(alpha=_JUDGING_RIDGE * fitted.sum()))
    probe.fit(features[fitted], data.labels[fitted])
    return float(probe.score(features[data.tests], data.labels[data.tests]))


def top1_agreement(module: torch.nn.Module, original: torch.nn.Module, data: LabelledImages) -> float:
    """Share of the test images for which both networks give the same of their classes the largest logit."""
    import torch

    equal = []
    with torch.no_grad():
        for batch in torch.split(torch.from_numpy(data.images[data.tests]), _BATCH):
            equal += (module(batch).argmax(dim=1) == original(batch).argmax(dim=1)).tolist()
    return float(np.mean(equal))


def _penultimate(module: torch.nn.Module, images: FloatArray) -> FloatArray:
    """Inputs of the last linear layer, shape ``(n, width)``."""
    import torch

    kept: list[Any] = []
    last = [layer for layer in module.modules() if isinstance(layer, torch.nn.Linear)][-1]
    handle = last.register_forward_pre_hook(lambda _, inputs: kept.append(inputs[0].numpy()))
    try:
        with torch.no_grad():
            for batch in torch.split(torch.from_numpy(images), _BATCH):
                module(batch)
    finally:
        handle.remove()
    return np.concatenate(kept).astype(np.float32)
