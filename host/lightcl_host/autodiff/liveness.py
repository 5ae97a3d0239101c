"""How much memory a step needs when its nodes run in the order they stand."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import helper, shape_inference

from lightcl_host.autodiff.updates import ALIASING_OPERATORS

#: Operators that onnxruntime lets write onto an input of the same size that nothing else reads.
REUSING_OPERATORS = frozenset(
    {"Relu", "Clip", "Sigmoid", "Exp", "Neg", "Add", "Sub", "Mul", "Sum", "Not", "And", "Or", "ScatterND"}
)


@dataclass(frozen=True)
class PeakReport:
    """The moment at which the most memory is held.

    Attributes:
        bytes: all tensors alive then, without inputs, outputs and constants.
        node: the output of the node that runs then.
        alive: tensor -> its bytes, largest first.
    """

    bytes: int
    node: str
    alive: dict[str, int]


def tensor_bytes(model: onnx.ModelProto) -> dict[str, int]:
    """Sizes of all computed tensors with static shapes."""
    inferred = shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
    sizes = {}
    for value in (*inferred.graph.value_info, *inferred.graph.output):
        kind = value.type.tensor_type
        width = np.dtype(helper.tensor_dtype_to_np_dtype(kind.elem_type)).itemsize
        sizes[value.name] = width * math.prod(side.dim_value for side in kind.shape.dim)
    return sizes


def _memory_owners(model: onnx.ModelProto, sizes: dict[str, int]) -> dict[str, str]:
    """For each tensor, the first tensor in whose memory it lives."""
    owner: dict[str, str] = {}
    readers: dict[str, int] = {}
    for node in model.graph.node:
        for name in node.input:
            readers[name] = readers.get(name, 0) + 1
    kept = {value.name for value in (*model.graph.input, *model.graph.output, *model.graph.initializer)}
    for node in model.graph.node:
        for name in node.output:
            owner[name] = name
        if node.output[0] in kept:
            continue
        if node.op_type in ALIASING_OPERATORS:
            owner[node.output[0]] = owner.get(node.input[0], node.input[0])
        elif node.op_type in REUSING_OPERATORS:
            for name in node.input:
                free = readers.get(name) == 1 and name not in kept and owner.get(name) == name
                if free and sizes.get(name) == sizes.get(node.output[0]):
                    owner[node.output[0]] = name
                    break
    return owner


def peak_of(model: onnx.ModelProto, *, ignore: Collection[str] = ()) -> PeakReport:
    """Walk a step in execution order and find its peak.

    Args:
        model: a step with static shapes.
        ignore: tensors that are held elsewhere.

    Returns:
        The peak, beyond inputs, outputs and constants.
    """
    sizes = tensor_bytes(model)
    owner = _memory_owners(model, sizes)
    outside = {value.name for value in (*model.graph.input, *model.graph.output, *model.graph.initializer)}
    outside.update(ignore)
    last: dict[str, int] = {}
    for index, node in enumerate(model.graph.node):
        for name in (*node.input, *node.output):
            last[owner.get(name, name)] = index
    alive: dict[str, int] = {}
    best = PeakReport(0, "", {})
    for index, node in enumerate(model.graph.node):
        for name in node.output:
            if owner[name] == name and name not in outside:
                alive[name] = sizes.get(name, 0)
        total = sum(alive.values())
        if total > best.bytes:
            ordered = dict(sorted(alive.items(), key=lambda item: -item[1]))
            best = PeakReport(total, node.output[0], ordered)
        for name in [name for name in alive if last[name] <= index]:
            del alive[name]
    return best
