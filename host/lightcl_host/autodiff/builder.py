"""Collects the nodes of a training step: the head's forward nodes first, then what the rules emit."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import onnx
from numpy.typing import ArrayLike, DTypeLike, NDArray
from onnx import helper, numpy_helper, shape_inference

from lightcl_edge.bundle.graph_names import FEATURES
from lightcl_edge.errors import BundleError
from lightcl_host.autodiff.gradients import Gradient, ParameterGradient
from lightcl_host.autodiff.one_dimension import rows_of_one

Shape = tuple[int, ...]
#: Operators whose result's shape is that of the input, and that the onnx library's shape inference leaves out.
_KEEP_SHAPES = frozenset({"GroupNormalization", "RMSNormalization"})
#: The head's input is put together from these two in a step with buffered samples.
NEW_FEATURES, BUFFERED_FEATURES = "features.new", "features.buffered"


@dataclass(frozen=True)
class ForwardNode:
    """A node of the head, with its attributes as Python values."""

    proto: onnx.NodeProto  # the node itself
    attributes: dict[str, Any]  # name -> int, float, bytes or list

    @property
    def kind(self) -> str:
        """The operator type."""
        return self.proto.op_type

    @property
    def inputs(self) -> list[str]:
        """Names of the inputs; an optional input that is left out has an empty name."""
        return list(self.proto.input)

    @property
    def outputs(self) -> list[str]:
        return list(self.proto.output)

    def ints(self, name: str, default: Sequence[int]) -> list[int]:
        """An attribute that is a list of integers."""
        return [int(value) for value in self.attributes.get(name, default)]

    def describe(self) -> str:
        """The node's name in messages."""
        return f"operator {self.kind} (output {self.outputs[0]!r})"


class Convolution(Protocol):
    """Emits a convolution and its gradients in place of a Conv node."""

    def emit_forward(self) -> None:
        """Emit the convolution; its result has the name and shape that the node gives it."""

    def gradients(self, gradient: str, wanted: Sequence[bool]) -> list[Gradient]:
        """Emit the wanted gradients of image, kernel and bias, from the gradient of the result."""


def _fix_rows(head: onnx.ModelProto, rows: int) -> onnx.ModelProto:
    """A copy of the head with a static batch size and the shapes of all its tensors."""
    model = onnx.ModelProto()
    model.CopyFrom(head)
    rows_of_one(model)
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = rows
    del model.graph.value_info[:]
    for output in model.graph.output:
        output.type.tensor_type.ClearField("shape")
    try:
        model = shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
        while _pass_shapes(model):
            model = shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
    except shape_inference.InferenceError as error:
        raise BundleError(f"head.onnx: its shapes do not fit {rows} rows: {error}") from error
    return model


def _pass_shapes(model: onnx.ModelProto) -> bool:
    """Give results the shapes of their inputs where the onnx library does not; False when there is nothing to give."""
    graph, shapes, found = model.graph, _static_shapes(model), False
    known = {info.name: info for info in (*graph.value_info, *graph.output)}
    for node in graph.node:
        name = node.output[0]
        if node.op_type in _KEEP_SHAPES and node.input[0] in shapes and name not in shapes:
            shape = shapes[node.input[0]]
            info = known[name] if name in known else graph.value_info.add(name=name)
            info.CopyFrom(helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape))
            found = True
    return found


def _static_shapes(model: onnx.ModelProto) -> dict[str, Shape]:
    """Shapes of all tensors whose every side is known."""
    graph = model.graph
    shapes: dict[str, Shape] = {}
    for value in (*graph.input, *graph.value_info, *graph.output):
        sides = value.type.tensor_type.shape.dim
        if value.type.tensor_type.HasField("shape") and all(side.HasField("dim_value") for side in sides):
            shapes[value.name] = tuple(side.dim_value for side in sides)
    return shapes


class GraphBuilder:
    """The graph under construction.

    Args:
        head: the head; its first input is ``features`` of shape ``(N, ...)``.
        rows: samples in one run.
        trained: names of the initialisers that are parameters; they become inputs of the step.

    Attributes:
        forward: the head's nodes that lead to the wanted outputs, in execution order.
        nodes: everything emitted so far, in execution order.
        shapes: tensor name -> shape, for the head's tensors and for the gradients of them.
        values: constant initialisers by name.
        gates: result of a gating operator -> the boolean tensor that replaces it on the way back.
        rows: image -> the same image as rows of pixels, where these were made.
        planes: image -> the same image as planes, where these were made.
        pixels: image -> the same image as pixels, where these were made.
        padded: images whose rows need a row of zeros at the end.
        positions: kernel held one position at a time -> its positions that have an effect.
        feature_parts: the graph inputs that together are the head's input.
        blind: tensors that are made of another for its existence alone, whatever it holds.
        convolutions: result -> what emits it in place of a Conv node.
    """

    def __init__(self, head: onnx.ModelProto, rows: int, trained: Collection[str]) -> None:
        model = _fix_rows(head, rows)
        arrays = {value.name: numpy_helper.to_array(value) for value in model.graph.initializer}
        self.shapes: dict[str, Shape] = _static_shapes(model)
        self.shapes |= {name: array.shape for name, array in arrays.items()}
        self.values: dict[str, NDArray[Any]] = {k: v for k, v in arrays.items() if k not in trained}
        self.forward: list[ForwardNode] = []
        for proto in model.graph.node:
            attributes = {item.name: helper.get_attribute_value(item) for item in proto.attribute}
            if proto.op_type == "Constant" and "value" in attributes:
                self.values[proto.output[0]] = numpy_helper.to_array(attributes["value"])
            else:
                self.forward.append(ForwardNode(proto, attributes))
        self.nodes: list[onnx.NodeProto] = []
        self.gates: dict[str, str] = {}
        self.rows: dict[str, str] = {}
        self.planes: dict[str, str] = {}
        self.pixels: dict[str, str] = {}
        self.padded: set[str] = set()
        self.blind: set[str] = set()
        self.feature_parts = [FEATURES]
        self.positions: dict[str, list[int]] = {}
        self.convolutions: dict[str, Convolution] = {}
        self._constants: dict[tuple[str, Shape, bytes], str] = {}
        self._count = 0

    def divide_features(self) -> None:
        """Take new and buffered features as two inputs, so that the device need not copy them together."""
        self.feature_parts = [NEW_FEATURES, BUFFERED_FEATURES]
        self.op("Concat", *self.feature_parts, output=FEATURES, axis=0)

    def keep_only(self, outputs: Collection[str]) -> None:
        """Drop forward nodes that the wanted tensors do not need."""
        needed, kept = set(outputs), []
        for node in reversed(self.forward):
            if needed.intersection(node.outputs):
                needed.update(node.inputs)
                kept.append(node)
        self.forward = kept[::-1]

    def shape(self, name: str) -> Shape:
        """The static shape of a tensor; BundleError when shape inference could not find it."""
        if name not in self.shapes:
            raise BundleError(
                f"head.onnx: the shape of tensor {name!r} depends on data, expected a static one; "
                "export the model with static shapes apart from the batch"
            )
        return self.shapes[name]

    def value(self, name: str, node: ForwardNode) -> NDArray[Any]:
        """The value of a constant input of a node; BundleError when it is computed or trained."""
        if name not in self.values:
            raise BundleError(f"head.onnx: {node.describe()} computes its input {name!r}, expected a constant")
        return self.values[name]

    def op(self, kind: str, *inputs: str, output: str | None = None, **attributes: Any) -> str:
        """Emit a node of one output, and return the output's name (a new one unless ``output`` gives it)."""
        self._count += 1
        name = output or f"step/{self._count}/{kind}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], **attributes))
        return name

    def constant(self, value: ArrayLike, dtype: DTypeLike = np.float32) -> str:
        """The name of a constant; equal ones are stored once."""
        array = np.asarray(value, dtype)
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self._constants:
            name = f"step/constant/{len(self._constants)}"
            self._constants[key], self.values[name] = name, array
        return self._constants[key]

    def ints(self, values: Sequence[int]) -> str:
        """A constant list of int64, for shapes, axes and bounds."""
        return self.constant(list(values), np.int64)

    def reshape(self, tensor: str, shape: Sequence[int]) -> str:
        """Emit a Reshape, which copies nothing."""
        return self.op("Reshape", tensor, self.ints(shape))

    def slice(
        self, tensor: str, starts: Sequence[int], ends: Sequence[int], axes: Sequence[int], steps: Sequence[int] = ()
    ) -> str:
        """Emit a Slice; steps are 1 unless given."""
        bounds = [self.ints(values) for values in (starts, ends, axes, steps or [1] * len(axes))]
        return self.op("Slice", tensor, *bounds)

    def transpose(self, tensor: str, order: Sequence[int]) -> str:
        return self.op("Transpose", tensor, perm=list(order))

    def sum(self, tensor: str, axes: Sequence[int], *, keep: bool = False) -> str:
        """Emit a ReduceSum."""
        return self.op("ReduceSum", tensor, self.ints(axes), keepdims=int(keep))

    def joined(self, parts: Sequence[str], axis: int) -> str:
        """Emit a Concat where there are several parts."""
        return self.op("Concat", *parts, axis=axis) if len(parts) > 1 else parts[0]

    def scaled(self, tensor: str, scale: str | None) -> str:
        return self.op("Mul", tensor, scale) if scale else tensor

    def adder(self, gradient: str) -> ParameterGradient:
        """What adds a gradient that exists as a tensor."""

        def add(base: str | None, scale: str | None) -> str:
            step = self.scaled(gradient, scale)
            return self.op("Add", base, step) if base else step

        return add

    def mask(self, condition: str) -> str:
        """A boolean tensor as 0 and 1 in float32 (a Where is many times slower than this and a Mul)."""
        return self.op("Cast", condition, to=onnx.TensorProto.FLOAT)

    def full(self, tensor: str, shape: Shape) -> str:
        """Spread a gradient that is still of a broadcastable shape to all of ``shape``."""
        if self.shapes.get(tensor, shape) == shape:
            return tensor
        spread = self.op("Expand", tensor, self.ints(shape))
        self.shapes[spread] = shape
        return spread

    def reduce_to(self, tensor: str, source: Shape, target: Shape) -> str:
        """Undo a broadcast from ``target`` to ``source``: sum over the axes that it spread."""
        leading = len(source) - len(target)
        spread = [axis for axis in range(leading, len(source)) if target[axis - leading] != source[axis]]
        axes = [*range(leading), *spread]
        if not axes:
            return tensor
        summed = self.sum(tensor, axes, keep=True)
        return self.reshape(summed, target) if leading else summed
