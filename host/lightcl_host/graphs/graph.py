"""Which node of an ONNX graph makes a tensor, which nodes use it, its shape, and whether it depends on the image."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import onnx

OPSET = 20
IR_VERSION = 9
#: onnxruntime 1.17 is the first that runs opset 20 and IR version 9 (its compatibility table).
MINIMUM_ONNXRUNTIME = "1.17.0"
BATCH = "batch"


class GraphView:
    """Look-ups in a shape-inferred graph that does not change; its first input is the image or the features.

    Attributes:
        graph: the model's graph.
        weights: name -> initialiser.
        producer: tensor -> index of the node that makes it.
        consumers: tensor -> indices of the nodes that use it, in order.
        dims: tensor -> shape for one image, with the batch axis as 1, for tensors of known shape.
        shapes: tensor -> shape without the batch axis, for activations whose first axis is the batch.
        activations: tensors that depend on the input.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        self.graph = model.graph
        self.weights = {tensor.name: tensor for tensor in self.graph.initializer}
        self.producer: dict[str, int] = {}
        self.consumers: dict[str, list[int]] = defaultdict(list)
        self.activations: set[str] = {self.graph.input[0].name}
        for index, node in enumerate(self.graph.node):
            for name in dict.fromkeys(node.input):
                self.consumers[name].append(index)
            self.producer.update({name: index for name in node.output if name})
            if any(name in self.activations for name in node.input):
                self.activations.update(name for name in node.output if name)
        self.dims: dict[str, tuple[int, ...]] = {}
        self.shapes: dict[str, tuple[int, ...]] = {}
        for info in [*self.graph.input, *self.graph.output, *self.graph.value_info]:
            dims = _dims_of_one(info)
            if dims is None:
                continue
            self.dims[info.name] = dims
            first = info.type.tensor_type.shape.dim[:1]
            if first and first[0].dim_param == BATCH:
                self.shapes[info.name] = dims[1:]

    def active_inputs(self, index: int) -> list[str]:
        """The node's inputs that depend on the image."""
        return [name for name in self.graph.node[index].input if name in self.activations]

    def source(self, tensor: str) -> onnx.NodeProto | None:
        """The node that makes the tensor, or None for an input or initialiser."""
        index = self.producer.get(tensor)
        return None if index is None else self.graph.node[index]

    def elements(self, tensor: str) -> int:
        """Numbers in an activation of one sample."""
        return int(np.prod(self.dims[tensor], dtype=np.int64))


def _dims_of_one(info: onnx.ValueInfoProto) -> tuple[int, ...] | None:
    """The shape for one image, with the batch axis as 1; None where a side is not known."""
    dims = []
    if not info.type.tensor_type.HasField("shape"):
        return None
    for dim in info.type.tensor_type.shape.dim:
        each, _, name = dim.dim_param.rpartition("*")
        if dim.dim_value > 0:
            dims.append(dim.dim_value)
        elif name == BATCH and (each or "1").isdigit():
            dims.append(int(each or 1))
        else:
            return None
    return tuple(dims)


def attribute(node: onnx.NodeProto, name: str, default: object = None) -> object:
    import onnx

    for entry in node.attribute:
        if entry.name == name:
            value: object = onnx.helper.get_attribute_value(entry)
            return value
    return default


def integer_attribute(node: onnx.NodeProto, name: str, default: int) -> int:
    value = attribute(node, name, default)
    return value if isinstance(value, int) else default


def to_array(tensor: onnx.TensorProto) -> NDArray[np.generic]:
    """An initialiser's values."""
    from onnx import numpy_helper

    return np.asarray(numpy_helper.to_array(tensor))


def to_tensor(values: NDArray[np.generic], name: str) -> onnx.TensorProto:
    from onnx import numpy_helper

    return numpy_helper.from_array(np.asarray(values, order="C"), name)  # a scalar stays one


def rename_tensors(graph: onnx.GraphProto, names: dict[str, str]) -> None:
    """Give tensors other names wherever they occur in the graph."""
    for node in graph.node:
        for inputs in (node.input, node.output):
            for index, name in enumerate(inputs):
                if name in names:
                    inputs[index] = names[name]
    for info in [*graph.input, *graph.output, *graph.value_info, *graph.initializer]:
        if info.name in names:
            info.name = names[info.name]


def read_by(node: onnx.NodeProto) -> set[str]:
    """The tensors that a node reads, those inside its branches included."""
    inner = [part for entry in node.attribute for part in (entry.g, *entry.graphs)]
    return {*node.input, *(name for part in inner for other in part.node for name in read_by(other))}


def drop_unused(graph: onnx.GraphProto) -> None:
    """Remove nodes and initialisers that nothing depends on."""
    wanted = {info.name for info in graph.output}
    kept = []
    for node in reversed(graph.node):
        if any(name in wanted for name in node.output):
            kept.append(node)
            wanted.update(read_by(node))
    kept.reverse()
    weights = [tensor for tensor in graph.initializer if tensor.name in wanted]
    replace_all(graph.node, kept)
    replace_all(graph.initializer, weights)


def replace_all(repeated: Any, items: Iterable[Any]) -> None:
    """Replace the content of a protobuf list."""
    copies = list(items)
    del repeated[:]
    repeated.extend(copies)
