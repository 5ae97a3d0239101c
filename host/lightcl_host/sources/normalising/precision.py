"""Files in float16 or float64 as the float32 network that they stand for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lightcl_host.graphs.graph import to_array, to_tensor

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
