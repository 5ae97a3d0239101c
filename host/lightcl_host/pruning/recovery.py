"""Teach a pruned network to answer as it did before, and measure what is lost.

The images' own classes are rarely the network's, so the pruned network learns the original's logits (Hinton et al.
2015, "Distilling the Knowledge in a Neural Network"). What matters for continual learning is how well classes can be
told apart from its features: a ridge classifier on the penultimate features, fitted on the images that recovery
sees and tested on others, is the accuracy that is reported.
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


#: Most images to recover with, and every how many-th one only tests.
RECOVERY_IMAGES, _TEST_EVERY = 640, 4
_BATCH, _LEARNING_RATE, _TEMPERATURE = 32, 5e-4, 2.0
#: Of the ridge classifier, on standardised features, times the number of samples.
_RIDGE = 0.1


@dataclass(frozen=True)
class LabelledImages:
    """Images of the device's world, divided.

    Attributes:
        images: normalised, shape ``(n, 3, height, width)``.
        labels: class of each, shape ``(n,)``.
        tests: which only test, booleans of shape ``(n,)``.
    """

    images: FloatArray
    labels: NDArray[np.int64]
    tests: NDArray[np.bool_]


def labelled_images(spec: str, info: InputInfo, seed: int, count: int = RECOVERY_IMAGES) -> LabelledImages:
    """Images to recover and test with.

    Args:
        spec: a data specification.
        info: of the network's input.
        seed: of the choice.
        count: how many at most.

    Returns:
        The readable ones of those chosen, every fourth for testing.

    Raises:
        DataError: when too few can be read.
    """
    dataset = open_dataset(spec)
    pixels, labels = [], []
    for index in np.random.default_rng([seed, 1]).permutation(len(dataset))[:count]:
        try:
            pixels.append(dataset.load(int(index), info))
        except DataError:
            continue
        labels.append(int(dataset.labels[index]))
    if len(pixels) < 2 * _TEST_EVERY:
        raise DataError(
            f"{spec}: found {len(pixels)} readable images to recover with, expected {2 * _TEST_EVERY} or more"
        )
    tests = np.arange(len(pixels)) % _TEST_EVERY == 0
    return LabelledImages(normalise(np.stack(pixels), info), np.asarray(labels, np.int64), tests)


def recover(
    module: torch.nn.Module, original: torch.nn.Module, data: LabelledImages, epochs: int, seed: int, progress: Progress
) -> None:
    """Train the pruned network to give the original's logits; batch normalisation learns new statistics.

    Args:
        module: pruned; trained in place.
        original: in evaluation mode.
        data: its test images are not used.
        epochs: passes over the images, each mirrored at random.
        seed: of the order and the mirroring.
        progress: shows how far it is.
    """
    import torch

    images = torch.from_numpy(data.images[~data.tests])
    generator = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.Adam(module.parameters(), lr=_LEARNING_RATE)
    _train_batch_norm(module)
    steps = [
        order for _ in range(epochs) for order in torch.split(torch.randperm(len(images), generator=generator), _BATCH)
    ]
    progress.stage(f"recovering from pruning: {len(steps)} steps")
    for order in progress.track(steps, "recovering from pruning"):
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
    """Statistics move, dropout stays off."""
    from torch import nn

    module.eval()
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.train()


def probe_accuracy(module: torch.nn.Module, data: LabelledImages) -> float:
    """Accuracy on the test images of a ridge classifier on the penultimate features.

    Args:
        module: in evaluation mode, ends in a linear layer.
        data: the images.

    Returns:
        A share, 0 to 1.
    """
    features = penultimate(module, data.images).astype(np.float64)
    fitted = features[~data.tests]
    mean, deviation = fitted.mean(axis=0), fitted.std(axis=0) + 1e-6
    features = (features - mean) / deviation
    fitted = features[~data.tests]
    classes = np.unique(data.labels)
    targets = (data.labels[~data.tests, None] == classes).astype(np.float64)
    offset = targets.mean(axis=0)
    gram = fitted.T @ fitted + _RIDGE * len(fitted) * np.eye(fitted.shape[1])
    weights = np.linalg.solve(gram, fitted.T @ (targets - offset))
    found = classes[(features[data.tests] @ weights + offset).argmax(axis=1)]
    return float((found == data.labels[data.tests]).mean())


def top1_agreement(module: torch.nn.Module, original: torch.nn.Module, data: LabelledImages) -> float:
    """Share of the test images for which both networks name the same of their own classes first."""
    import torch

    equal = []
    with torch.no_grad():
        for batch in torch.split(torch.from_numpy(data.images[data.tests]), _BATCH):
            equal += (module(batch).argmax(dim=1) == original(batch).argmax(dim=1)).tolist()
    return float(np.mean(equal))


def penultimate(module: torch.nn.Module, images: FloatArray) -> FloatArray:
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
