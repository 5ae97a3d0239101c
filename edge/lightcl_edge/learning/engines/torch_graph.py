"""An ONNX graph as a torch module, for a stated list of operators."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from numpy.typing import NDArray
from onnx import numpy_helper

from lightcl_edge.errors import BundleError
from lightcl_edge.learning.engines.torch_node import Node, Tensor
from lightcl_edge.learning.engines.torch_normalizations import batch_norm
from lightcl_edge.learning.engines.torch_rules import RULES

_BATCH_NORM = "BatchNormalization"
#: Operators a graph may hold to be run and trained in torch.
TORCH_OPERATORS = frozenset({*RULES, _BATCH_NORM})
_DTYPES = frozenset({"float32", "uint8", "int8", "int32", "int64", "bool", "float16", "float64"})


@dataclass(frozen=True)
class Graph:
    """A graph's operators in execution order, its weights by name, and the names of what it takes and gives."""

    nodes: list[Node]
    initializers: dict[str, NDArray[np.generic]]
    inputs: list[str]
    outputs: list[str]


def read_graph(path: Path) -> Graph:
    """Read an ONNX file.

    Raises:
        BundleError: when it is not readable ONNX, or keeps a tensor in another file.
    """
    try:
        graph = onnx.load_model_from_string(path.read_bytes()).graph
        initializers = {tensor.name: _array(tensor) for tensor in graph.initializer}
        nodes = [_node(node) for node in graph.node]
    except (DecodeError, OSError, ValueError, TypeError, KeyError, NotImplementedError) as error:
        raise BundleError(f"{path.name} is not a readable ONNX file ({error}); export the bundle again") from error
    inputs = [value.name for value in graph.input if value.name not in initializers]
    return Graph(nodes, initializers, inputs, [value.name for value in graph.output])


def _array(tensor: onnx.TensorProto) -> NDArray[np.generic]:
    if tensor.data_location == onnx.TensorProto.EXTERNAL:
        raise ValueError(f"tensor {tensor.name!r} is in another file")
    array = numpy_helper.to_array(tensor)
    if array.dtype.name not in _DTYPES:
        raise ValueError(f"tensor {tensor.name!r} has type {array.dtype}")
    return array


def _node(node: onnx.NodeProto) -> Node:
    attributes = {given.name: onnx.helper.get_attribute_value(given) for given in node.attribute}
    return Node(node.op_type, list(node.input), list(node.output), attributes)


class GraphModule(torch.nn.Module):
    """A graph whose ``trained`` initialisers are parameters and whose other initialisers are constants.

    None trains all floating-point ones of rank 1 or more, except BatchNorm's running statistics.

    Raises:
        BundleError: when an operator is not in ``TORCH_OPERATORS``.
    """

    def __init__(self, graph: Graph, trained: Sequence[str] | None = None) -> None:
        super().__init__()
        unknown = sorted({node.operator for node in graph.nodes} - TORCH_OPERATORS)
        if unknown:
            raise BundleError(f"operator {unknown[0]} can't be run in torch; expected one of {sorted(TORCH_OPERATORS)}")
        statistics = {name for node in graph.nodes if node.operator == _BATCH_NORM for name in node.inputs[3:]}
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
            # weights that are not trained, and masks; integers are shapes and axes, which stay here
            if name not in self._registered and (tensor.is_floating_point() or tensor.dtype == torch.bool):
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
        """Run the graph on its one input; gives the tensors named in ``outputs``, or the graph's own outputs."""
        return dict(self.computed(value, self.graph.outputs if outputs is None else outputs))

    def computed(self, value: Tensor, names: Collection[str]) -> Iterator[tuple[str, Tensor]]:
        """Run the graph on its one input, and give each named tensor as soon as there is one, with its name.

        A tensor that neither the caller nor autograd holds is freed after its last use.
        """
        values: dict[str, Any] = {self.graph.inputs[0]: value}
        yield from ((name, value) for name in self.graph.inputs[:1] if name in names)
        for at, node in enumerate(self.graph.nodes):
            inputs: list[Any] = [values.get(name, self._tensors.get(name)) if name else None for name in node.inputs]
            if node.operator == _BATCH_NORM:
                result = batch_norm(node, self.training, *inputs)
            else:
                result = RULES[node.operator](node, *inputs)
            results = result if isinstance(result, tuple | list) else (result,)
            values.update(zip(node.outputs, results, strict=False))
            yield from ((name, values[name]) for name in node.outputs if name in names)
            del inputs, result, results
            for name in node.inputs:
                if name in values and self._last_use.get(name) == at:
                    del values[name]


def load_module(path: Path, trained: Sequence[str] | None = None) -> GraphModule:
    """Read an ONNX file as a :class:`GraphModule`, in training mode; raises what that and :func:`read_graph` raise."""
    return GraphModule(read_graph(path), trained)


def load_parameters(module: GraphModule, parameters: Mapping[str, NDArray[np.float32]]) -> None:
    """Copy arrays into the module's trained tensors; names and shapes were checked before."""
    with torch.no_grad():
        for name, tensor in module.named_tensors().items():
            tensor.copy_(torch.from_numpy(np.ascontiguousarray(parameters[name])))
