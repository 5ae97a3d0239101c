"""Files in float16, float64 or eight bits as the float32 network that they stand for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lightcl_edge.errors import UsageError
from lightcl_edge.files.tensors import FloatArray
from lightcl_host.graphs.graph import attribute, drop_unused, integer_attribute, replace_all, to_array, to_tensor

if TYPE_CHECKING:
    import onnx

_FLOAT, _FLOAT16, _DOUBLE, _BFLOAT16 = 1, 10, 11, 16
_OTHER_FLOATS = frozenset({_FLOAT16, _DOUBLE, _BFLOAT16})


def to_float32(model: onnx.ModelProto) -> bool:
    """Write all numbers of other floating-point types as float32, in place; returns whether there were any."""
    graph, found = model.graph, False
    for tensor in graph.initializer:
        if tensor.data_type in _OTHER_FLOATS:
            tensor.CopyFrom(to_tensor(to_array(tensor).astype(np.float32), tensor.name))
            found = True
    for node in graph.node:
        for entry in node.attribute:
            if entry.HasField("t") and entry.t.data_type in _OTHER_FLOATS:
                entry.t.CopyFrom(to_tensor(to_array(entry.t).astype(np.float32), entry.t.name))
            elif node.op_type in ("Cast", "EyeLike", "RandomNormal") and entry.name in ("to", "dtype"):
                found |= entry.i in (_FLOAT16, _BFLOAT16)
                entry.i = _FLOAT if entry.i in _OTHER_FLOATS else entry.i
    for info in [*graph.input, *graph.output]:
        if info.type.tensor_type.elem_type in _OTHER_FLOATS:
            info.type.tensor_type.elem_type = _FLOAT
            found = True
    if found:
        del graph.value_info[:]
    return found


def dequantise(model: onnx.ModelProto) -> bool:
    """Undo pairs of QuantizeLinear and DequantizeLinear, in place; returns whether there were any.

    Raises UsageError where weights are quantised in blocks.
    """
    graph = model.graph
    if not any(node.op_type == "DequantizeLinear" for node in graph.node):
        return False
    weights = {tensor.name: tensor for tensor in graph.initializer}
    names: dict[str, str] = {}
    kept = []
    for node in graph.node:
        for index, name in enumerate(node.input):
            node.input[index] = names.get(name, name)
        if node.op_type == "DequantizeLinear" and node.input[0] in weights:
            graph.initializer.append(to_tensor(_real(node, weights), node.output[0]))
        elif node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            names[node.output[0]] = node.input[0]
        else:
            kept.append(node)
    replace_all(graph.node, kept)
    for output in graph.output:
        output.name = names.get(output.name, output.name)
        output.type.tensor_type.elem_type = _FLOAT
    del graph.value_info[:]
    drop_unused(graph)
    return True


def _real(node: onnx.NodeProto, weights: dict[str, onnx.TensorProto]) -> FloatArray:
    """``(stored - zero point) * scale``, with one scale or one for each channel."""
    if attribute(node, "block_size", 0) or any(name and name not in weights for name in node.input):
        raise UsageError(
            f"operator DequantizeLinear ({node.output[0]}) has scales in blocks or scales that are computed; "
            "expected one scale for a tensor or for each channel"
        )
    stored, *rest = (to_array(weights[name]).astype(np.float64) for name in node.input if name)
    axis = integer_attribute(node, "axis", 1)
    parts = []
    for values in rest:
        shape = [1] * stored.ndim
        if values.size > 1:
            shape[axis] = values.size
        parts.append(values.reshape(shape) if stored.ndim else values.reshape(()))
    zero = parts[1] if len(parts) > 1 else 0.0
    return ((stored - zero) * parts[0]).astype(np.float32)
