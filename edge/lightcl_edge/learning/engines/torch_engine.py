"""The ``torch`` engine: the head as a torch module, SGD inside the backward pass, on CUDA if that works.

As soon as a parameter's gradient is complete, a hook updates the parameter and frees the gradient. So all gradients
never exist at once.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own customary name
from numpy.typing import NDArray

from lightcl_edge.bundle.manifest import HeadInfo
from lightcl_edge.files.tensors import FloatArray, Parameters, check_parameters
from lightcl_edge.learning.engines.contract import Batch, Engine, PatternTerm
from lightcl_edge.learning.engines.torch_graph import GraphModule, load_module, load_parameters
from lightcl_edge.machine.description import usable_cores
from lightcl_edge.machine.freeing import give_back, return_freed_memory


class TorchEngine(Engine):
    """Trains a head in PyTorch.

    Args:
        threads: None for all processors that this process may use.
        device: ``cpu`` or ``cuda``; None for CUDA if it computes here, else the CPU.

    Raises:
        BundleError: when the graph holds an operator outside the list.
    """

    name = "torch"

    def __init__(self, head: Path, info: HeadInfo, threads: int | None = None, device: str | None = None) -> None:
        # EfficientNet-Lite0 at 128 pixels peaks at 432 to 435 MiB with this and at 478 to 503 without. The price: its
        # steps take 1.5 times as long.
        return_freed_memory()
        self.device, self.device_reason = (device, "asked for") if device else choose_device()
        torch.set_num_threads(threads or usable_cores())
        self._shapes = {parameter.name: tuple(parameter.shape) for parameter in info.parameters}
        self._module: GraphModule = load_module(head, list(self._shapes))
        self._module.to(self.device)
        self._learning_rate = 0.0
        for tensor in self._module.named_tensors().values():
            tensor.register_post_accumulate_grad_hook(self._update)  # type: ignore[no-untyped-call]

    def _update(self, tensor: torch.Tensor) -> None:
        if tensor.grad is not None:
            with torch.no_grad():
                tensor.add_(tensor.grad, alpha=-self._learning_rate)
            tensor.grad = None

    def load(self, parameters: Parameters) -> None:
        """Take over a copy of all parameters."""
        load_parameters(self._module, check_parameters(parameters, self._shapes, "parameters"))

    def rest(self) -> None:
        """Give back what a step worked with."""
        give_back()

    def step(self, batch: Batch) -> float:
        """One SGD step."""
        self._learning_rate = batch.learning_rate
        count = len(batch.features)
        rows, outputs = batch.features, ["logits"]
        if batch.patterns is not None:
            rows = np.concatenate([rows, batch.patterns.features])
            outputs = list(dict.fromkeys([*outputs, *batch.patterns.targets]))
        values = self._module(self._tensor(rows), outputs)
        logits = values["logits"][:count] + self._tensor(batch.logit_offset)
        entropy = F.cross_entropy(logits, self._tensor(batch.labels), reduction="none")
        loss = (entropy * self._tensor(batch.weights)).sum()
        if batch.patterns is not None:
            loss = loss + self._pattern_loss(values, batch.patterns, count)
        loss.backward()  # type: ignore[no-untyped-call]
        return float(loss.detach())

    def logits(self, features: FloatArray) -> FloatArray:
        return self.activations(features, ["logits"])["logits"]

    def activations(self, features: FloatArray, names: Sequence[str]) -> dict[str, FloatArray]:
        """Named tensors of the head."""
        with torch.no_grad():
            values = self._module(self._tensor(features), list(names))
        return {name: np.array(values[name].cpu().numpy()) for name in names}

    def views(self) -> Parameters:
        """The parameters' own memory, on CUDA a copy of it."""
        return {name: tensor.detach().cpu().numpy() for name, tensor in self._module.named_tensors().items()}

    def parameters(self) -> dict[str, FloatArray]:
        return {name: np.array(tensor.detach().cpu().numpy()) for name, tensor in self._module.named_tensors().items()}

    def _tensor(self, array: NDArray[np.generic]) -> torch.Tensor:
        """An array where the engine computes; on the CPU without a copy."""
        return torch.from_numpy(np.ascontiguousarray(array)).to(self.device)

    def _pattern_loss(self, values: dict[str, torch.Tensor], term: PatternTerm, start: int) -> torch.Tensor:
        """``beta * sum over tensors of sum(mask * (activation - target)**2)`` for the rows from ``start`` on."""
        total = torch.zeros((), device=self.device)
        for name, target in term.targets.items():
            mask = self._tensor(term.masks[name]).reshape(1, -1, *[1] * (target.ndim - 2))
            total = total + (mask * (values[name][start:] - self._tensor(target)) ** 2).sum()
        return total * term.beta


def choose_device() -> tuple[str, str]:
    """CUDA, if a small computation on it comes out right; else the CPU."""
    if not torch.cuda.is_available():
        return "cpu", "this torch sees no CUDA device"
    try:
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
        product = (torch.ones(2, 2, device="cuda") @ torch.ones(2, 2, device="cuda")).sum().item()
        if product != 8.0:
            return "cpu", f"CUDA computes wrongly here (a product gave {product}, expected 8)"
        return "cuda", torch.cuda.get_device_name()
    except (RuntimeError, AssertionError) as error:  # no kernel for this GPU, no memory, no driver
        return "cpu", f"CUDA does not work here: {str(error).splitlines()[0][:150]}"
