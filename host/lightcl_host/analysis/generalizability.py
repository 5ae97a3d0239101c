"""Memory stability and learning plasticity of every cut, measured while the whole network learns the tasks.

The definitions are ours, from the description in LightCL (Wang et al., ASP-DAC 2025); see docs/builders/analysis.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from collections.abc import Sequence as ListOf
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lightcl_edge.files.tensors import IntArray
from lightcl_host.analysis.network import Network
from lightcl_host.analysis.ridge_probe import PROBE_CELLS, ridge_accuracy
from lightcl_host.analysis.similarity import SMALLEST_BATCH, Gram, gram, linear_cka
from lightcl_host.analysis.tasks import Sequence, TaskData

if TYPE_CHECKING:
    import torch

ByteImages = NDArray[np.uint8]

#: The most images that stability is measured with. They are of earlier tasks and never trained on.
_STABILITY_IMAGES = 256
#: What the features of a batch at all cuts together may take.
_LOOK_BYTES = 256 * 2**20
_LARGEST_LOOK = 64


@dataclass(frozen=True)
class Training:
    """How the whole network is fine-tuned by plain SGD; ``steps`` are those of one task."""

    steps: int
    batch_size: int
    learning_rate: float


def look_batch(feature_values: int) -> int:
    """The batch of the minibatch CKA, 8 to 64 images, whose features at all cuts fit the memory for them.

    ``feature_values`` is how many numbers the features of one image at all cuts have.
    """
    return max(8, min(_LARGEST_LOOK, _LOOK_BYTES // (4 * max(1, feature_values))))


def measure_repeat(
    network: Network, sequence: Sequence, training: Training, batch: int, seed: int, tell: Callable[[], None]
) -> dict[str, Any]:
    """Learn the tasks one after the other, and measure every cut before and after each task.

    The network is changed. ``batch`` images go through it together. ``tell`` is called after each of the three pieces
    of work of a task. Returns values for JSON: for each cut ``stability`` for every task but the first, and probe
    accuracies ``before`` and ``after`` every task; and the network's own ``accuracy`` on each task after it.
    """
    rng = np.random.default_rng([seed, 2])
    stability: dict[str, list[float]] = {}
    probes: dict[str, dict[str, list[float]]] = {"before": {}, "after": {}}
    accuracy = []
    for number, task in enumerate(sequence.tasks):
        earlier = _earlier(sequence.tasks[:number], rng)
        _add(probes["before"], probe_cuts(network, task, batch))
        old = look_grams(network, earlier, batch)
        tell()
        _learn(network, task, training, rng)
        tell()
        accuracy.append(_accuracy(network, task, batch))
        _add(probes["after"], probe_cuts(network, task, batch))
        if number:
            new = look_grams(network, earlier, batch)
            _add(stability, {name: linear_cka(old[name], new[name]) for name in new})
        tell()
    return {"stability": stability, **probes, "accuracy": accuracy}


def _add(lists: dict[str, list[float]], values: dict[str, float]) -> None:
    for name, value in values.items():
        lists.setdefault(name, []).append(value)


def _earlier(tasks: ListOf[TaskData], rng: np.random.Generator) -> ByteImages | None:
    """Held-out images of earlier tasks, mixed; None before the second task."""
    if not tasks:
        return None
    pixels = np.concatenate([task.held for task in tasks])
    return pixels[rng.permutation(len(pixels))[:_STABILITY_IMAGES]]


def _learn(network: Network, task: TaskData, training: Training, rng: np.random.Generator) -> None:
    classes = np.unique(task.train_labels)
    rows = _batches_for_ever(len(task.train_labels), training.batch_size, rng)
    for _ in range(training.steps):
        chosen = next(rows)
        network.step(task.train[chosen], task.train_labels[chosen], classes, training.learning_rate)


def _batches_for_ever(count: int, size: int, rng: np.random.Generator) -> Iterator[IntArray]:
    while True:
        order = rng.permutation(count)
        yield from (order[at : at + size] for at in range(0, count, size))


def _accuracy(network: Network, task: TaskData, batch: int) -> float:
    """Among the task's own classes, on held-out images."""
    classes = np.unique(task.train_labels)
    logits = np.concatenate([network.logits(part) for part in even_parts(task.held, batch)])
    return float((classes[logits[:, classes].argmax(axis=1)] == task.held_labels).mean())


def even_parts(pixels: ByteImages, batch: int) -> list[ByteImages]:
    """Images in as few parts of at most ``batch`` as possible, of about equal length."""
    return list(np.array_split(pixels, max(1, -(-len(pixels) // batch)))) if len(pixels) else []


def look_grams(network: Network, pixels: ByteImages | None, batch: int) -> dict[str, list[Gram]]:
    """Inner products of the features of each batch, for every cut; empty without images."""
    found: dict[str, list[Gram]] = {}

    def see(name: str, features: torch.Tensor) -> None:
        found.setdefault(name, []).append(gram(features.numpy()))

    for part in even_parts(pixels, batch) if pixels is not None else []:
        if len(part) >= SMALLEST_BATCH:
            network.look(part, see)
    return found


def probe_cuts(network: Network, task: TaskData, batch: int) -> dict[str, float]:
    """Cut -> accuracy of a ridge probe, fitted on the task's training images, judged on its held-out images."""
    fit, test = (_probe_features(network, pixels, batch) for pixels in (task.train, task.held))
    return {name: ridge_accuracy(fit[name], task.train_labels, test[name], task.held_labels) for name in fit}


def _probe_features(network: Network, pixels: ByteImages, batch: int) -> dict[str, NDArray[np.float32]]:
    """Features at every cut, maps averaged to at most ``PROBE_CELLS`` cells a side."""
    import torch.nn.functional as F  # noqa: N812 - torch's own customary name

    parts: dict[str, list[NDArray[np.float32]]] = {}

    def see(name: str, features: torch.Tensor) -> None:
        if features.ndim == 4:
            height, width = (min(PROBE_CELLS, side) for side in features.shape[2:])
            features = F.adaptive_avg_pool2d(features, (height, width))
        parts.setdefault(name, []).append(features.flatten(1).numpy().copy())

    for part in even_parts(pixels, batch):
        network.look(part, see)
    return {name: np.concatenate(arrays) for name, arrays in parts.items()}
