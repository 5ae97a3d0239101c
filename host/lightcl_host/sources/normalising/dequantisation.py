"""Files in eight bits as the float32 network that they stand for, with a record of how they were quantised."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lightcl_edge.errors import UsageError
from lightcl_edge.files.tensors import FloatArray
from lightcl_host.graphs.graph import attribute, drop_unused, integer_attribute, replace_all, to_array, to_tensor

if TYPE_CHECKING:
    import onnx

Array = NDArray[np.generic]
Doubles = NDArray[np.float64]
_FLOAT, _SIX, _NEARLY = 1, 6.0, 0.03
#: What gives numbers of both signs.
_SIGNED = frozenset({"Conv", "ConvTranspose", "MatMul", "Gemm", "Add", "Sub", "BatchNormalization"})
_AT_RUN_TIME = frozenset({"DynamicQuantizeLinear", "ConvInteger", "MatMulInteger"})
#: Moving numbers about does not change how they are quantised, as long as one scale holds for all.
MOVING = frozenset({"Transpose", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity"})


def _bound(values: Array, which: str) -> float:
    """The least or largest number of a whole type; NaN for another."""
    return float(getattr(np.iinfo(values.dtype.name), which)) if values.dtype.kind in "iu" else float("nan")


@dataclass(frozen=True)
class Scale:
    """``real = (stored - zero_point) * scale``, with one number, or one for each place along ``axis``."""

    scale: Array  # float32
    zero_point: Array  # of the stored type
    axis: int = 1

    @property
    def starts_at_zero(self) -> bool:
        """Whether no number below zero can be stored."""
        least = _bound(self.zero_point, "min")
        return bool(np.all(self.zero_point == least))

    @property
    def ends_at_six(self) -> bool:
        """Whether the largest number that can be stored is about six."""
        steps = _bound(self.zero_point, "max") - self.zero_point.astype(np.float64)
        return bool(np.all(np.abs(steps * self.scale.astype(np.float64) - _SIX) < _NEARLY))


@dataclass(frozen=True)
class StoredWeight:
    """A weight as the file holds it."""

    real: FloatArray
    stored: Array
    scale: Scale


@dataclass
class Quantisation:
    """How a file was quantised."""

    activations: dict[str, Scale] = field(default_factory=dict)  # by tensor of the float graph
    weights: list[StoredWeight] = field(default_factory=list)

    def rename(self, old: str, new: str) -> None:
        """Call an activation otherwise."""
        if old in self.activations:
            self.activations[new] = self.activations.pop(old)


def dequantise(model: onnx.ModelProto) -> Quantisation | None:
    """Undo pairs of QuantizeLinear and DequantizeLinear and the QLinear operators, in place; None where there are none.

    Raises UsageError where weights are quantised in blocks, or activations with scales that are computed.
    """
    graph = model.graph
    for node in graph.node:
        if node.op_type in _AT_RUN_TIME:
            raise UsageError(
                f"operator {node.op_type} ({node.output[0]}) chooses its scales at run time, which can't be undone; "
                "expected float32 weights, or a static quantisation by QuantizeLinear and DequantizeLinear"
            )
    _spell_out(graph)
    if not any(node.op_type == "DequantizeLinear" for node in graph.node):
        return None
    weights = {tensor.name: tensor for tensor in graph.initializer}
    found, names, makers = Quantisation(), dict[str, str](), dict[str, str]()
    kept: list[onnx.NodeProto] = []
    for node in graph.node:
        for index, name in enumerate(node.input):
            node.input[index] = names.get(name, name)
        if node.op_type == "DequantizeLinear" and node.input[0] in weights:
            weight = _stored(node, weights)
            found.weights.append(weight)
            graph.initializer.append(to_tensor(weight.real, node.output[0]))
        elif node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            if node.op_type == "QuantizeLinear" and node.input[0] not in weights:
                scale = _scale(node, weights)
                if makers.get(node.input[0]) in _SIGNED and scale.starts_at_zero:
                    clamp = _clamp(node, scale)
                    if clamp.output[0] not in makers:  # a quantiser may write one for each reader
                        kept.append(clamp)
                        graph.initializer.extend(_bounds(clamp))
                        makers[clamp.output[0]] = clamp.op_type
                    node.input[0] = clamp.output[0]
                found.activations.setdefault(node.input[0], scale)
            names[node.output[0]] = node.input[0]
        else:
            kept.append(node)
            makers.update(dict.fromkeys(node.output, node.op_type))
    replace_all(graph.node, kept)
    for output in graph.output:
        output.name = names.get(output.name, output.name)
        output.type.tensor_type.elem_type = _FLOAT
    del graph.value_info[:]
    drop_unused(graph)
    return found


def _clamp(node: onnx.NodeProto, scale: Scale) -> onnx.NodeProto:
    """The ReLU, or ReLU6, that quantisers leave out where the least stored number stands for zero."""
    import onnx

    out = f"{node.input[0]}.clamped"
    if scale.ends_at_six:
        return onnx.helper.make_node("Clip", [node.input[0], f"{out}.least", f"{out}.most"], [out])
    return onnx.helper.make_node("Relu", [node.input[0]], [out])


def _bounds(clamp: onnx.NodeProto) -> list[onnx.TensorProto]:
    values = (np.float32(0), np.float32(_SIX))
    return [to_tensor(np.asarray(value), name) for value, name in zip(values, list(clamp.input)[1:], strict=False)]


def spread_over_moves(graph: onnx.GraphProto, activations: dict[str, Scale]) -> None:
    """Let what only moves the numbers of a quantised activation be quantised alike, before and after, in place."""
    moves = [node for node in graph.node if node.op_type in MOVING]
    for node in moves:
        _share(activations, node.input[0], node.output[0])
    for node in reversed(moves):
        _share(activations, node.output[0], node.input[0])


def _share(activations: dict[str, Scale], known: str, other: str) -> None:
    if known in activations and activations[known].scale.size == 1:
        activations.setdefault(other, activations[known])


def _scale(node: onnx.NodeProto, weights: dict[str, onnx.TensorProto]) -> Scale:
    if attribute(node, "block_size", 0) or any(name and name not in weights for name in node.input[1:]):
        raise UsageError(
            f"operator {node.op_type} ({node.output[0]}) has scales in blocks or scales that are computed; "
            "expected one scale for a tensor or for each channel"
        )
    scale = to_array(weights[node.input[1]]).astype(np.float32)
    given = len(node.input) > 2 and node.input[2]
    zero = to_array(weights[node.input[2]]) if given else np.zeros(scale.shape, np.uint8)
    return Scale(scale, zero, integer_attribute(node, "axis", 1))


def _stored(node: onnx.NodeProto, weights: dict[str, onnx.TensorProto]) -> StoredWeight:
    scale, stored = _scale(node, weights), to_array(weights[node.input[0]])
    if len(node.input) < 3 or not node.input[2]:
        scale = Scale(scale.scale, np.zeros(scale.scale.shape, stored.dtype), scale.axis)
    axis = scale.axis + stored.ndim if scale.axis < 0 else scale.axis
    factor, zero = (_along(values.astype(np.float64), axis, stored) for values in (scale.scale, scale.zero_point))
    if factor.size not in (1, stored.shape[axis] if axis < stored.ndim else 1):
        raise UsageError(
            f"operator DequantizeLinear ({node.output[0]}) has {factor.size} scales for a weight of shape "
            f"{stored.shape}; expected one, or one for each place along axis {axis}"
        )
    real = ((stored.astype(np.float64) - zero) * factor).astype(np.float32)
    return StoredWeight(real, stored, Scale(scale.scale, scale.zero_point, axis))


def _along(values: Doubles, axis: int, stored: Array) -> Doubles:
    shape = [1] * stored.ndim
    if values.size > 1 and axis < stored.ndim:
        shape[axis] = values.size
    return values.reshape(shape) if values.size == 1 or axis < stored.ndim else values


def _spell_out(graph: onnx.GraphProto) -> None:
    """Write QLinearConv and QLinearMatMul as what they stand for, in place."""
    import onnx

    kinds = {"QLinearConv": "Conv", "QLinearMatMul": "MatMul"}
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        if node.op_type not in kinds:
            nodes.append(node)
            continue
        out, conv = node.output[0], node.op_type == "QLinearConv"
        first = onnx.helper.make_node("DequantizeLinear", node.input[0:3], [f"{out}.first"])
        second = onnx.helper.make_node("DequantizeLinear", node.input[3:6], [f"{out}.second"], axis=0 if conv else 1)
        real = onnx.helper.make_node(kinds[node.op_type], [f"{out}.first", f"{out}.second"], [f"{out}.real"])
        real.attribute.extend(node.attribute)
        nodes += [first, second]
        if conv and len(node.input) > 8 and node.input[8]:
            nodes.append(_bias(graph, node))
            real.input.append(f"{out}.bias")
        nodes += [real, onnx.helper.make_node("QuantizeLinear", [f"{out}.real", *node.input[6:8]], [out])]
    replace_all(graph.node, nodes)


def _bias(graph: onnx.GraphProto, node: onnx.NodeProto) -> onnx.NodeProto:
    """A bias is stored in steps of the image's scale times the kernel's."""
    import onnx

    weights = {tensor.name: tensor for tensor in graph.initializer}
    if any(name not in weights for name in (node.input[1], node.input[4])):
        raise UsageError(f"operator QLinearConv ({node.output[0]}) has scales that are computed; expected constants")
    steps = to_array(weights[node.input[1]]).astype(np.float32) * to_array(weights[node.input[4]]).astype(np.float32)
    out = node.output[0]
    graph.initializer.append(to_tensor(steps.reshape(-1) if steps.size > 1 else steps.reshape(()), f"{out}.bias.scale"))
    return onnx.helper.make_node("DequantizeLinear", [node.input[8], f"{out}.bias.scale"], [f"{out}.bias"], axis=0)
