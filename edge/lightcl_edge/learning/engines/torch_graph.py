"""An ONNX graph as a torch module, for a stated list of operators.

torch is imported here and in ``engines/torch_engine.py`` only. The graph is read by our own small protobuf
reader of :mod:`lightcl_edge.files.onnx_graph`, because the onnx package is not on the device.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own customary name
from numpy.typing import NDArray

from lightcl_edge.errors import BundleError
from lightcl_edge.files.onnx_graph import Graph, Node, read_graph

Tensor = torch.Tensor
Rule = Callable[["GraphModule", Node, list[Any]], Any]


def _pair_pads(value: Tensor, pads: Sequence[int], fill: float = 0.0) -> tuple[Tensor, list[int]]:
    """Split ONNX pads (begins, then ends) into what the operator can take and an explicit pad."""
    if not any(pads):
        return value, [0, 0]
    half = len(pads) // 2
    begins, ends = list(pads[:half]), list(pads[half:])
    if begins == ends and fill == 0.0:
        return value, begins
    torch_order = [side for axis in reversed(range(half)) for side in (begins[axis], ends[axis])]
    return F.pad(value, torch_order, value=fill), [0] * half


def _conv(module: GraphModule, node: Node, inputs: list[Any]) -> Any:
    del module
    value, padding = _pair_pads(inputs[0], node.integers("pads", [0, 0, 0, 0]))
    bias = inputs[2] if len(inputs) > 2 else None
    stride, dilation = node.integers("strides", [1, 1]), node.integers("dilations", [1, 1])
    return F.conv2d(value, inputs[1], bias, stride, padding, dilation, node.integer("group", 1))


def _gemm(module: GraphModule, node: Node, inputs: list[Any]) -> Any:
    del module
    left = inputs[0].T if node.integer("transA", 0) else inputs[0]
    right = inputs[1].T if node.integer("transB", 0) else inputs[1]
    product = (left @ right) * node.number("alpha", 1.0)
    return product if len(inputs) < 3 else product + inputs[2] * node.number("beta", 1.0)


def _clip(module: GraphModule, node: Node, inputs: list[Any]) -> Any:
    del module, node
    bounds = [None if bound is None else float(bound) for bound in [*inputs[1:], None, None][:2]]
    return torch.clamp(inputs[0], *bounds)


def _max_pool(module: GraphModule, node: Node, inputs: list[Any]) -> Any:
    del module
    value, padding = _pair_pads(inputs[0], node.integers("pads", [0] * 4), float("-inf"))
    kernel = node.integers("kernel_shape", [1, 1])
    stride, dilation = node.integers("strides", [1, 1]), node.integers("dilations", [1, 1])
    return F.max_pool2d(value, kernel, stride, padding, dilation, bool(node.integer("ceil_mode", 0)))


def _average_pool(module: GraphModule, node: Node, inputs: list[Any]) -> Any:
    del module
    pads = node.integers("pads", [0] * 4)
    counted = bool(node.integer("count_include_pad", 0))
    if pads[:2] != pads[2:] and not counted:
        raise BundleError("AveragePool with uneven pads that are not counted can't be trained; choose a later cut")
    value, padding = _pair_pads(inputs[0], pads)
    kernel, stride = node.integers("kernel_shape", [1, 1]), node.integers("strides", [1, 1])
    return F.avg_pool2d(value, kernel, stride, padding, bool(node.integer("ceil_mode", 0)), counted)


def _axes(node: Node, inputs: list[Any], at: int) -> list[int]:
    """Axes as an attribute (older opsets) or as an input."""
    if len(inputs) > at and inputs[at] is not None:
        return [int(axis) for axis in inputs[at].tolist()]
    return node.integers("axes", [])


def _reduce_mean(module: GraphModule, node: Node, inputs: list[Any]) -> Any:
    del module
    axes = _axes(node, inputs, 1) or list(range(inputs[0].ndim))
    return inputs[0].mean(dim=axes, keepdim=bool(node.integer("keepdims", 1)))


def _reshape(module: GraphModule, node: Node, inputs: list[Any]) -> Any:
    del module, node
    sides = inputs[1].tolist()
    return inputs[0].reshape([inputs[0].shape[i] if side == 0 else side for i, side in enumerate(sides)])


def _flatten(module: GraphModule, node: Node, inputs: list[Any]) -> Any:
    del module
    return torch.flatten(inputs[0], node.integer("axis", 1))


def _squeeze(module: GraphModule, node: Node, inputs: list[Any]) -> Any:
    del module
    axes = _axes(node, inputs, 1)
    return inputs[0].squeeze(tuple(axes)) if axes else inputs[0].squeeze()


def _unsqueeze(module: GraphModule, node: Node, inputs: list[Any]) -> Any:
    del module
    value = inputs[0]
    for axis in sorted(_axes(node, inputs, 1)):
        value = value.unsqueeze(axis)
    return value


def _split(module: GraphModule, node: Node, inputs: list[Any]) -> Any:
    del module
    axis, parts = node.integer("axis", 0), len(node.outputs)
    if len(inputs) > 1 and inputs[1] is not None:
        return torch.split(inputs[0], inputs[1].tolist(), dim=axis)
    size = -(-inputs[0].shape[axis] // parts)
    return torch.split(inputs[0], size, dim=axis)


def _slice(module: GraphModule, node: Node, inputs: list[Any]) -> Any:
    del module, node
    value = inputs[0]
    starts, ends = inputs[1].tolist(), inputs[2].tolist()
    axes = inputs[3].tolist() if len(inputs) > 3 and inputs[3] is not None else range(len(starts))
    steps = inputs[4].tolist() if len(inputs) > 4 else [1] * len(starts)
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        index = np.arange(value.shape[axis])[slice(start, None if end <= -(2**31) else end, step)]
        value = value.index_select(axis, torch.from_numpy(index.copy()))
    return value


def _pad(module: GraphModule, node: Node, inputs: list[Any]) -> Any:
    del module
    if node.text("mode", "constant") != "constant":
        raise BundleError(f"Pad mode {node.text('mode', '')!r} can't be trained, expected constant")
    pads = inputs[1].tolist()
    half = len(pads) // 2
    order = [int(side) for axis in reversed(range(half)) for side in (pads[axis], pads[axis + half])]
    fill = float(inputs[2]) if len(inputs) > 2 and inputs[2] is not None else 0.0
    return F.pad(inputs[0], order, value=fill)


def _batch_norm(module: GraphModule, node: Node, inputs: list[Any]) -> Any:
    # ONNX: running = running * momentum + batch * (1 - momentum); torch names the other share.
    share = 1.0 - node.number("momentum", 0.9)
    value, scale, shift, mean, variance = inputs
    return F.batch_norm(value, mean, variance, scale, shift, module.training, share, node.number("epsilon", 1e-5))


def _hard_sigmoid(module: GraphModule, node: Node, inputs: list[Any]) -> Any:
    del module
    return torch.clamp(inputs[0] * node.number("alpha", 0.2) + node.number("beta", 0.5), 0.0, 1.0)


def _transpose(module: GraphModule, node: Node, inputs: list[Any]) -> Any:
    del module
    return inputs[0].permute(node.integers("perm", list(reversed(range(inputs[0].ndim)))))


def _concat(module: GraphModule, node: Node, inputs: list[Any]) -> Any:
    del module
    return torch.cat(inputs, dim=node.integer("axis", 0))


def _first(value: Any, *rest: Any) -> Any:
    del rest
    return value


def _simple(function: Callable[..., Any]) -> Rule:
    def rule(module: GraphModule, node: Node, inputs: list[Any]) -> Any:
        del module, node
        return function(*inputs)

    return rule


_RULES: dict[str, Rule] = {
    "Add": _simple(torch.add),
    "AveragePool": _average_pool,
    "BatchNormalization": _batch_norm,
    "Clip": _clip,
    "Concat": _concat,
    "Conv": _conv,
    "Dropout": _simple(_first),
    "Flatten": _flatten,
    "Gemm": _gemm,
    "GlobalAveragePool": _simple(lambda value: value.mean(dim=(2, 3), keepdim=True)),
    "HardSigmoid": _hard_sigmoid,
    "HardSwish": _simple(lambda value: value * torch.clamp(value / 6.0 + 0.5, 0.0, 1.0)),
    "Identity": _simple(_first),
    "MatMul": _simple(torch.matmul),
    "MaxPool": _max_pool,
    "Mul": _simple(torch.mul),
    "Pad": _pad,
    "ReduceMean": _reduce_mean,
    "Relu": _simple(torch.relu),
    "Reshape": _reshape,
    "Sigmoid": _simple(torch.sigmoid),
    "Slice": _slice,
    "Split": _split,
    "Squeeze": _squeeze,
    "Sub": _simple(torch.sub),
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
}

#: Operators a graph may hold to be run and trained in torch.
TORCH_OPERATORS = frozenset(_RULES)


class GraphModule(torch.nn.Module):
    """A graph whose float initialisers are parameters and whose other initialisers are constants.

    Args:
        graph: what to run.
        trained: names of the initialisers to train; None for all floating-point ones of rank 1 or more,
            BatchNorm's running statistics excepted.

    Raises:
        BundleError: when an operator is not in ``TORCH_OPERATORS``.
    """

    def __init__(self, graph: Graph, trained: Sequence[str] | None = None) -> None:
        super().__init__()
        unknown = sorted({node.operator for node in graph.nodes} - TORCH_OPERATORS)
        if unknown:
            raise BundleError(f"operator {unknown[0]} can't be run in torch; expected one of {sorted(TORCH_OPERATORS)}")
        statistics = {name for node in graph.nodes if node.operator == "BatchNormalization" for name in node.inputs[3:]}
        self._tensors: dict[str, Tensor] = {}
        for name, array in graph.initializers.items():
            floating = array.dtype == np.float32 and array.ndim > 0
            train = name in trained if trained is not None else floating and name not in statistics
            tensor = torch.from_numpy(np.array(array))
            self._tensors[name] = torch.nn.Parameter(tensor) if train else tensor
        self._registered: dict[str, str] = {}
        for number, (name, tensor) in enumerate(self._tensors.items()):
            if isinstance(tensor, torch.nn.Parameter):
                self.register_parameter(f"p{number}", tensor)
                self._registered[name] = f"p{number}"
            elif name in statistics:
                self.register_buffer(f"s{number}", tensor)
                self._registered[name] = f"s{number}"
        # The arrays live on as tensors: both at once would hold the weights twice.
        self.graph = Graph(graph.nodes, {}, graph.inputs, graph.outputs)
        self._last_use = {name: at for at, node in enumerate(graph.nodes) for name in node.inputs}

    def _apply(self, fn: Callable[..., Any], recurse: bool = True) -> GraphModule:
        """What ``to(device)`` calls: what is registered may become other tensors, which the graph must then use."""
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        for name, tensor in self._tensors.items():
            if name not in self._registered and tensor.is_floating_point():  # weights that are not trained
                self._tensors[name] = fn(tensor)
        self._tensors.update({name: getattr(self, buffer) for name, buffer in self._registered.items()})
        return self

    def named_tensors(self) -> dict[str, torch.nn.Parameter]:
        """The trained tensors by their names in the graph."""
        return {name: t for name, t in self._tensors.items() if isinstance(t, torch.nn.Parameter)}

    def as_graph(self) -> Graph:
        """The graph with the present values of all tensors; arrays share their memory where torch allows it."""
        arrays = {name: tensor.detach().cpu().numpy() for name, tensor in self._tensors.items()}
        return Graph(self.graph.nodes, arrays, self.graph.inputs, self.graph.outputs)

    def forward(self, value: Tensor, outputs: Sequence[str] | None = None) -> dict[str, Tensor]:
        """Run the graph.

        Args:
            value: the graph's one input.
            outputs: names of the tensors to give; None for the graph's own outputs.

        Returns:
            Name -> tensor.
        """
        wanted = set(outputs if outputs is not None else self.graph.outputs)
        values: dict[str, Any] = {self.graph.inputs[0]: value}
        for at, node in enumerate(self.graph.nodes):
            inputs = [values.get(name, self._tensors.get(name)) if name else None for name in node.inputs]
            result = _RULES[node.operator](self, node, inputs)
            results = result if isinstance(result, tuple | list) else (result,)
            values.update(zip(node.outputs, results, strict=False))
            for name in node.inputs:  # what nobody needs any more is freed, unless autograd holds it
                if name in values and name not in wanted and self._last_use.get(name) == at:
                    del values[name]
        return {name: values[name] for name in wanted}


def load_module(path: Path, trained: Sequence[str] | None = None) -> GraphModule:
    """Read an ONNX file as a torch module.

    Args:
        path: the file.
        trained: see :class:`GraphModule`.

    Returns:
        The module, in training mode.

    Raises:
        BundleError: when the file is damaged or holds an operator outside ``TORCH_OPERATORS``.
    """
    return GraphModule(read_graph(path), trained)


def load_parameters(module: GraphModule, parameters: Mapping[str, NDArray[np.float32]]) -> None:
    """Copy arrays into the module's trained tensors; names and shapes were checked before."""
    with torch.no_grad():
        for name, tensor in module.named_tensors().items():
            tensor.copy_(torch.from_numpy(np.ascontiguousarray(parameters[name])))
