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
from lightcl_edge.machine.freeing import trim_heap
from lightcl_host.analysis.network import Network
from lightcl_host.analysis.ridge_probe import PROBE_CELLS, ridge_right
from lightcl_host.analysis.similarity import SMALLEST_BATCH, Gram, gram, linear_cka
from lightcl_host.analysis.summary import plasticity, same_ranking
from lightcl_host.analysis.tasks import Sequence, TaskData

if TYPE_CHECKING:
    import torch

ByteImages = NDArray[np.uint8]
#: By cut, before and after a task: inner products of the features, and which held-out images the probe names rightly.
_Looks = tuple[dict[str, list[Gram]], dict[str, list[Gram]]]
_Probes = tuple[dict[str, NDArray[np.bool_]], dict[str, NDArray[np.bool_]]]

#: The most images that stability is measured with. They are of earlier tasks and never trained on.
_STABILITY_IMAGES = 256
#: What a batch that is looked at may take.
_LOOK_BYTES = 64 * 2**20
_LARGEST_LOOK = 64
#: What autograd may keep of a batch of a step.
_STEP_BYTES = 192 * 2**20
#: Random halves of the held-out images that give the figures' spread.
_HALVES = 20
#: A task ends when two looks, so many steps apart, rank the cuts alike: Spearman's correlation is at least this.
_STEPS_BETWEEN_LOOKS, _SAME = 5, 0.98
#: A training step of an image takes about as long as so many forward passes.
STEP_COST = 5.0
#: Steps that most tasks take.
USUAL_STEPS = 12


@dataclass(frozen=True)
class Training:
    """How the whole network is fine-tuned by plain SGD; ``steps`` are the most of one task."""

    steps: int
    batch_size: int
    learning_rate: float


def look_batch(peak_bytes: int) -> int:
    """The batch of the minibatch CKA, 8 to 64 images, of which one takes ``peak_bytes`` on its way through."""
    return max(8, min(_LARGEST_LOOK, _LOOK_BYTES // max(1, peak_bytes)))


def step_batch(graph_values: int) -> int:
    """The batch of a step, 4 to 16 images, of which autograd keeps ``graph_values`` numbers an image."""
    return max(4, min(16, _STEP_BYTES // (4 * max(1, graph_values))))


def measure(
    network: Network, sequence: Sequence, training: Training, batch: int, seed: int, tell: Callable[[float], None]
) -> dict[str, Any]:
    """Learn the tasks one after the other, and measure every cut before and after each task.

    The network is changed. ``batch`` images go through it together. ``tell`` is called often, with how many images'
    forward passes were done. Returns values for JSON: for each of ``cuts`` the ``stability`` and ``plasticity``, each
    of all images and then of random halves, and probe accuracies ``before`` and ``after`` the tasks; the network's own
    ``accuracy`` on each task after it; and how many ``steps`` each task took.
    """
    rng = np.random.default_rng([seed, 2])
    looks, probes = [], []
    accuracy, steps = [], []
    for number, task in enumerate(sequence.tasks):
        earlier = _earlier(sequence.tasks[:number], rng)
        before = probe_cuts(network, task, batch, tell)
        old = look_grams(network, earlier, batch, tell)
        steps.append(_learn(network, task, training, batch, rng, tell))
        accuracy.append(_accuracy(network, task, batch))
        probes.append((before, probe_cuts(network, task, batch, tell)))
        if number:
            looks.append((old, look_grams(network, earlier, batch, tell)))
    halves = np.random.default_rng([seed, 4])
    found: dict[str, dict[str, Any]] = {name: {"stability": [], "plasticity": []} for name in probes[0][0]}
    for at in range(_HALVES + 1):
        _add_sample(found, looks, probes, None if at == 0 else halves)
    for name, each in found.items():
        each["before"], each["after"] = (
            float(np.mean([pair[when][name].mean() for pair in probes])) for when in (0, 1)
        )
    return {"cuts": found, "accuracy": accuracy, "steps": steps}


def _add_sample(
    found: dict[str, dict[str, Any]], looks: list[_Looks], probes: list[_Probes], rng: np.random.Generator | None
) -> None:
    """Add the figures of every cut on all held-out images, or on a random half of them where there is ``rng``."""
    rows = [[_half(len(each), rng) for each in next(iter(old.values()))] for old, _ in looks]
    places = [_half(len(next(iter(before.values()))), rng) for before, _ in probes]
    for name, figures in found.items():
        alike = []
        for (old, new), batches in zip(looks, rows, strict=True):
            alike.append(linear_cka(*(_parts_of(grams[name], batches) for grams in (old, new))))
        shares = [
            [float(pair[when][name][at].mean()) for pair, at in zip(probes, places, strict=True)] for when in (0, 1)
        ]
        figures["stability"].append(float(np.mean(alike)))
        figures["plasticity"].append(plasticity(*shares))


def _parts_of(grams: ListOf[Gram], rows: ListOf[IntArray]) -> list[Gram]:
    return [each[np.ix_(at, at)] for each, at in zip(grams, rows, strict=True)]


def _half(count: int, rng: np.random.Generator | None) -> IntArray:
    """All positions, or a random half of them that is still enough for the estimator."""
    return np.arange(count) if rng is None else rng.permutation(count)[: max(SMALLEST_BATCH, count // 2)]


def _earlier(tasks: ListOf[TaskData], rng: np.random.Generator) -> ByteImages | None:
    """Held-out images of earlier tasks, mixed; None before the second task."""
    if not tasks:
        return None
    places = [(number, at) for number, task in enumerate(tasks) for at in range(len(task.held))]
    chosen = rng.permutation(len(places))[:_STABILITY_IMAGES]
    return np.stack([tasks[number].held[at] for number, at in (places[place] for place in chosen)])


def _learn(
    network: Network,
    task: TaskData,
    training: Training,
    batch: int,
    rng: np.random.Generator,
    tell: Callable[[float], None],
) -> int:
    """Train until the order of the cuts by how far they have moved stays as it was; returns the steps taken."""
    classes = np.unique(task.train_labels)
    rows = _batches_for_ever(len(task.train_labels), training.batch_size, rng)
    watched = task.held[:_LARGEST_LOOK]
    start, last = look_grams(network, watched, batch, tell), None
    for step in range(1, training.steps + 1):
        chosen = next(rows)
        network.step(task.train[chosen], task.train_labels[chosen], classes, training.learning_rate)
        tell(STEP_COST * len(chosen))
        if step % _STEPS_BETWEEN_LOOKS == 0 and step < training.steps and start:
            now = look_grams(network, watched, batch, tell)
            moved = [linear_cka(start[name], now[name]) for name in now]
            if last is not None and len(set(last)) > 1 < len(set(moved)) and same_ranking(last, moved) >= _SAME:
                return step
            last = moved
    return training.steps


def _batches_for_ever(count: int, size: int, rng: np.random.Generator) -> Iterator[IntArray]:
    while True:
        order = rng.permutation(count)
        yield from (order[at : at + size] for at in range(0, count, size))


def _accuracy(network: Network, task: TaskData, batch: int) -> float:
    """Among the task's own classes, on held-out images."""
    classes = np.unique(task.train_labels)
    logits = np.concatenate([network.logits(part) for part in even_parts(task.held, batch)])
    trim_heap()
    return float((classes[logits[:, classes].argmax(axis=1)] == task.held_labels).mean())


def even_parts(pixels: ByteImages, batch: int) -> list[ByteImages]:
    """Images in as few parts of at most ``batch`` as possible, of about equal length."""
    return list(np.array_split(pixels, max(1, -(-len(pixels) // batch)))) if len(pixels) else []


def _silent(_: float) -> None:
    """For who does not want to be told."""


def look_grams(
    network: Network, pixels: ByteImages | None, batch: int, tell: Callable[[float], None] = _silent
) -> dict[str, list[Gram]]:
    """Inner products of the features of each batch, for every cut; empty without images."""
    found: dict[str, list[Gram]] = {}

    def see(name: str, features: torch.Tensor) -> None:
        found.setdefault(name, []).append(gram(features.numpy()))

    for part in even_parts(pixels, batch) if pixels is not None else []:
        if len(part) >= SMALLEST_BATCH:
            network.look(part, see)
            tell(len(part))
    trim_heap()
    return found


def probe_cuts(
    network: Network, task: TaskData, batch: int, tell: Callable[[float], None] = _silent
) -> dict[str, NDArray[np.bool_]]:
    """Cut -> which held-out images a ridge probe, fitted on the task's training images, names rightly."""
    fit, test = (_probe_features(network, pixels, batch, tell) for pixels in (task.train, task.held))
    return {name: ridge_right(fit[name], task.train_labels, test[name], task.held_labels) for name in fit}


def _probe_features(
    network: Network, pixels: ByteImages, batch: int, tell: Callable[[float], None]
) -> dict[str, NDArray[np.float32]]:
    """Features at every cut, maps averaged to at most ``PROBE_CELLS`` cells a side."""
    import torch.nn.functional as F  # noqa: N812 - torch's own customary name

    found: dict[str, NDArray[np.float32]] = {}  # filled as they come: parts and the whole would be twice as much
    done = 0

    def see(name: str, features: torch.Tensor) -> None:
        if features.ndim == 4:
            height, width = (min(PROBE_CELLS, side) for side in features.shape[2:])
            features = F.adaptive_avg_pool2d(features, (height, width))
        rows = features.flatten(1).numpy()
        if name not in found:
            found[name] = np.empty((len(pixels), rows.shape[1]), np.float32)
        found[name][done : done + len(rows)] = rows

    for part in even_parts(pixels, batch):
        network.look(part, see)
        done += len(part)
        tell(len(part))
    trim_heap()
    return found
