"""The reference for training steps: the original torch module, autograd, plain SGD."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from head_export import Tail, export_head
from lightcl_edge.bundle.graph_names import MASKED_LOGIT
from lightcl_edge.bundle.manifest import HeadInfo, StepGraph
from lightcl_edge.files.tensors import FloatArray
from lightcl_edge.learning.engines.contract import Batch, PatternTerm
from lightcl_edge.learning.engines.ort_engine import OrtEngine
from lightcl_host.autodiff.training_step import build_step, step_graphs

#: Networks this small only lose by threads, above all where other processes compute beside the tests.
torch.set_num_threads(1)

ACTIVATIONS = (nn.ReLU, nn.ReLU6, nn.Hardswish)


class Head:
    """An exported head with everything an engine needs.

    Args:
        tail: the torch network.
        feature_shape: of its input.
        folder: where to put the files.
        batch_size: of the step graphs.
        buffered_samples: of the step graphs.
    """

    def __init__(
        self, tail: Tail, feature_shape: tuple[int, ...], folder: Path, batch_size: int = 6, buffered_samples: int = 3
    ) -> None:
        self.tail, self.feature_shape = tail.eval(), feature_shape
        self.model, self.info = export_head(tail, feature_shape)
        self.steps: list[tuple[StepGraph, Path]] = []
        offered = step_graphs(self.model, self.info, feature_shape, [batch_size], buffered_samples)
        self.info = offered.head
        graphs = [offer for offer in offered.graphs if offer[0].update != "accumulate"]
        for held in {0, min(2, buffered_samples)}:  # micro-batches of several samples, which a batch may not fill
            part = build_step(self.model, self.info, 4, held, in_place=False)
            record = StepGraph(f"training_step/accumulate_{held}.onnx", "accumulate", 4, held, 0)
            graphs.append((record, part.SerializeToString()))
        for graph, data in graphs:
            path = folder / graph.path
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(data)
            self.steps.append((graph, path))

    def parameters(self) -> dict[str, FloatArray]:
        """Copies of the torch network's parameters."""
        return {name: value.detach().numpy().copy() for name, value in self.tail.named_parameters()}

    def engine(self, update: str = "auto") -> OrtEngine:
        """A loaded engine."""
        engine = OrtEngine(self.model.SerializeToString(), self.info, self.feature_shape, self.steps, 1, update)
        engine.load(self.parameters())
        return engine


def activations(tail: Tail, info: HeadInfo, features: torch.Tensor) -> dict[str, torch.Tensor]:
    """The pattern tensors of the torch network, by the names they have in the graph."""
    found: list[torch.Tensor] = []
    hooks = [
        part.register_forward_hook(lambda _module, _inputs, output: found.append(output.clone()))
        for part in tail.modules()
        if isinstance(part, ACTIVATIONS)
    ]
    logits = tail(features)
    for hook in hooks:
        hook.remove()
    return dict(zip(info.patterns, [*found, logits], strict=True))


def random_batch(head: Head, samples: int, held: int, *, seed: int = 0, learning_rate: float = 0.01) -> Batch:
    """A batch with shifted logits, masked classes, uneven weights, and patterns near the present activations."""
    generator = np.random.default_rng(seed)

    def features(rows: int) -> FloatArray:
        return np.maximum(generator.standard_normal((rows, *head.feature_shape)), 0).astype(np.float32)

    capacity, classes = head.info.capacity, max(2, head.info.capacity - 2)
    offset = generator.normal(0, 1, (samples, capacity)).astype(np.float32)
    offset[:, classes:] = MASKED_LOGIT
    weights = generator.uniform(0.5, 1.5, samples).astype(np.float32) / samples
    rows, labels = features(samples), generator.integers(0, classes, samples)
    patterns = None
    if held:
        old = features(held)
        with torch.no_grad():
            present = activations(head.tail, head.info, torch.from_numpy(old))
        targets = {k: v.numpy() + generator.normal(0, 0.1, v.shape).astype(np.float32) for k, v in present.items()}
        masks = {k: (generator.random(v.shape[1]) < 0.4).astype(np.float32) for k, v in targets.items()}
        patterns = PatternTerm(old, targets, masks, beta=2e-4)
    return Batch(rows, labels, offset, weights, learning_rate, patterns)


def torch_step(head: Head, batch: Batch) -> float:
    """One step of plain SGD on the torch network itself."""
    tail, patterns = head.tail, batch.patterns
    logits = tail(torch.from_numpy(batch.features))
    shifted = logits + torch.from_numpy(batch.logit_offset)
    entropy = functional.cross_entropy(shifted, torch.from_numpy(batch.labels), reduction="none")
    loss = (entropy * torch.from_numpy(batch.weights)).sum()
    if patterns is not None:
        values = activations(tail, head.info, torch.from_numpy(patterns.features))
        for name, target in patterns.targets.items():
            mask = torch.from_numpy(patterns.masks[name]).reshape(1, -1, *[1] * (target.ndim - 2))
            loss = loss + patterns.beta * (mask * (values[name] - torch.from_numpy(target)) ** 2).sum()
    gradients = torch.autograd.grad(loss, list(tail.parameters()))
    with torch.no_grad():
        for parameter, gradient in zip(tail.parameters(), gradients, strict=True):
            parameter.sub_(batch.learning_rate * gradient)
    return float(loss.detach())


def largest_relative_difference(found: dict[str, FloatArray], expected: dict[str, FloatArray]) -> float:
    """Over all parameters: the largest difference over the parameter's largest value."""
    return max(float(np.abs(found[name] - value).max() / np.abs(value).max()) for name, value in expected.items())
