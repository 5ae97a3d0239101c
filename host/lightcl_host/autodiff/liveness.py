"""How much memory a step needs when its nodes run in the order they stand."""

import math

import numpy as np
import onnx
from onnx import helper, shape_inference

from lightcl_host.graphs.operators import VIEW_OPERATORS

#: onnxruntime may let these write onto an input of the same size that nothing else reads.
REUSING_OPERATORS = frozenset(
    {"Relu", "Clip", "Sigmoid", "Exp", "Neg", "Add", "Sub", "Mul", "Sum", "Not", "And", "Or", "ScatterND"}
)


def _tensor_bytes(model: onnx.ModelProto) -> dict[str, int]:
    """Sizes of all computed tensors with static shapes."""
    inferred = shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
    sizes = {}
    for value in (*inferred.graph.value_info, *inferred.graph.output):
        kind = value.type.tensor_type
        width = np.dtype(helper.tensor_dtype_to_np_dtype(kind.elem_type)).itemsize
        sizes[value.name] = width * math.prod(side.dim_value for side in kind.shape.dim)
    return sizes


def _memory_owners(model: onnx.ModelProto, sizes: dict[str, int], outside: set[str]) -> dict[str, str]:
    """For each tensor, the first tensor in whose memory it lives."""
    owner: dict[str, str] = {}
    readers: dict[str, int] = {}
    for node in model.graph.node:
        for name in node.input:
            readers[name] = readers.get(name, 0) + 1
    for node in model.graph.node:
        for name in node.output:
            owner[name] = name
        if node.output[0] in outside:
            continue
        if node.op_type in VIEW_OPERATORS:
            owner[node.output[0]] = owner.get(node.input[0], node.input[0])
        elif node.op_type in REUSING_OPERATORS:
            for name in node.input:
                free = readers.get(name) == 1 and name not in outside and owner.get(name) == name
                if free and sizes.get(name) == sizes.get(node.output[0]):
                    owner[node.output[0]] = name
                    break
    return owner


def peak_bytes(model: onnx.ModelProto) -> int:
    """Most bytes of tensors alive at one time in a step with static shapes, without inputs, outputs and constants."""
    sizes = _tensor_bytes(model)
    outside = {value.name for value in (*model.graph.input, *model.graph.output, *model.graph.initializer)}
    owner = _memory_owners(model, sizes, outside)
    last: dict[str, int] = {}
    for index, node in enumerate(model.graph.node):
        for name in (*node.input, *node.output):
            last[owner.get(name, name)] = index
    alive: dict[str, int] = {}
    peak = 0
    for index, node in enumerate(model.graph.node):
        for name in node.output:
            if owner[name] == name and name not in outside:
                alive[name] = sizes.get(name, 0)
        peak = max(peak, sum(alive.values()))
        for name in [name for name in alive if last[name] <= index]:
            del alive[name]
    return peak
