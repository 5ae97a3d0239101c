"""Tensors ``(..., 1)`` as one row where they meet one number.

Else onnxruntime takes them an element at a time: 1.1 ms instead of 0.02 for 60,160.
"""

import math

import numpy as np
import onnx
from onnx import helper, numpy_helper, shape_inference

from lightcl_host.autodiff.layout import sides_of

_OPERATORS = frozenset({"Add", "Div", "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Mul", "Pow", "Sub"})
#: Fewer elements than this take less time than two more operators.
_FEWEST = 2048


def flatten_scalar_operations(model: onnx.ModelProto) -> None:
    """Change a graph with static shapes, in place. Every result keeps its name and shape."""
    graph = model.graph
    shapes = sides_of(shape_inference.infer_shapes(model).graph)
    shapes |= {tensor.name: list(tensor.dims) for tensor in graph.initializer}
    constants, nodes = {"flat/row": [-1]}, list[onnx.NodeProto]()
    for node in graph.node:
        result, sizes = node.output[0], [math.prod(shapes.get(name, [0])) for name in node.input]
        shape = shapes.get(result, [])
        if node.op_type in _OPERATORS and sorted(sizes) == [1, math.prod(shape)] and sizes != [1, 1] and shape[-1] == 1:
            at = sizes.index(math.prod(shape))
            if sizes[at] >= _FEWEST and shapes[node.input[at]] == shape:
                row, flat, back, inputs = f"{result}/row", f"{result}/flat", f"flat_{shape}", list(node.input)
                constants[back], inputs[at] = shape, row
                nodes.append(helper.make_node("Reshape", [node.input[at], "flat/row"], [row]))
                nodes.append(helper.make_node(node.op_type, inputs, [flat]))
                nodes.append(helper.make_node("Reshape", [flat, back], [result]))
                continue
        nodes.append(node)
    if len(constants) == 1:
        return
    copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del graph.node[:]
    graph.node.extend(copies)
    graph.initializer.extend(
        numpy_helper.from_array(np.array(value, np.int64), name) for name, value in constants.items()
    )
