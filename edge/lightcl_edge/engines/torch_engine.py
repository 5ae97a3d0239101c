"""The ``torch`` engine: the head as a torch module, SGD inside the backward pass.

A hook that runs after a parameter's gradient is accumulated updates the parameter and frees the gradient, so
that gradients never all exist at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own customary name

from lightcl_edge.bundle import check_parameters
from lightcl_edge.engines.contract import MASKED_LOGIT, Batch, Engine, FloatArray, Parameters, PatternTerm
from lightcl_edge.graph_to_torch import GraphModule, load_module, load_parameters
from lightcl_edge.machine import usable_cores
from lightcl_edge.manifest import HeadInfo


class TorchEngine(Engine):
    """Trains a head in PyTorch on the CPU.

    Args:
        head: ``head.onnx``.
        info: its names and shapes.
        threads: processors to use; None for all.

    Raises:
        BundleError: when the graph holds an operator outside the list.
    """

    name = "torch"

    def __init__(self, head: Path, info: HeadInfo, threads: int | None = None) -> None:
        torch.set_num_threads(threads or usable_cores())
        self._shapes = {parameter.name: tuple(parameter.shape) for parameter in info.parameters}
        self._module: GraphModule = load_module(head, list(self._shapes))
        self._learning_rate = 0.0
        for tensor in self._module.named_tensors().values():
            tensor.register_post_accumulate_grad_hook(self._update)  # type: ignore[no-untyped-call]

    def _update(self, tensor: torch.Tensor) -> None:
        """SGD for one parameter as soon as its gradient is complete."""
        if tensor.grad is not None:
            with torch.no_grad():
                tensor.add_(tensor.grad, alpha=-self._learning_rate)
            tensor.grad = None

    def load(self, parameters: Parameters) -> None:
        """Take over a copy of all parameters; see :meth:`Engine.load`."""
        load_parameters(self._module, check_parameters(parameters, self._shapes, "parameters"))

    def step(self, batch: Batch) -> float:
        """One SGD step; see :meth:`Engine.step`."""
        self._learning_rate = batch.learning_rate
        count = len(batch.features)
        rows, outputs = batch.features, ["logits"]
        if batch.patterns is not None:
            rows = np.concatenate([rows, batch.patterns.features])
            outputs = list(dict.fromkeys([*outputs, *batch.patterns.targets]))
        values = self._module(torch.from_numpy(np.ascontiguousarray(rows)), outputs)
        masked = values["logits"][:count] + (1.0 - torch.from_numpy(batch.logit_mask)) * float(MASKED_LOGIT)
        entropy = F.cross_entropy(masked, torch.from_numpy(batch.labels), reduction="none")
        loss = (entropy * torch.from_numpy(batch.weights)).sum()
        if batch.patterns is not None:
            loss = loss + _pattern_loss(values, batch.patterns, count)
        loss.backward()  # type: ignore[no-untyped-call]
        return float(loss.detach())

    def logits(self, features: FloatArray) -> FloatArray:
        """Unmasked logits; see :meth:`Engine.logits`."""
        return self.activations(features, ["logits"])["logits"]

    def activations(self, features: FloatArray, names: Sequence[str]) -> dict[str, FloatArray]:
        """Named tensors of the head; see :meth:`Engine.activations`."""
        with torch.no_grad():
            values = self._module(torch.from_numpy(np.ascontiguousarray(features)), list(names))
        return {name: np.array(values[name].numpy()) for name in names}

    def views(self) -> Parameters:
        """The parameters' own memory; see :meth:`Engine.views`."""
        return {name: tensor.detach().numpy() for name, tensor in self._module.named_tensors().items()}

    def parameters(self) -> dict[str, FloatArray]:
        """A copy of all parameters."""
        return {name: np.array(tensor.detach().numpy()) for name, tensor in self._module.named_tensors().items()}


def _pattern_loss(values: dict[str, torch.Tensor], term: PatternTerm, start: int) -> torch.Tensor:
    """``beta * sum over tensors of sum(mask * (activation - target)**2)`` for the rows from ``start`` on."""
    total = torch.zeros(())
    for name, target in term.targets.items():
        mask = torch.from_numpy(term.masks[name]).reshape(1, -1, *[1] * (target.ndim - 2))
        total = total + (mask * (values[name][start:] - torch.from_numpy(target)) ** 2).sum()
    return total * term.beta
