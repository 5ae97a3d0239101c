"""Concatenations with a constant part, such as a class token, as a padding and a sum that hold for any batch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lightcl_host.graphs.graph import integer_attribute, replace_all, to_array, to_tensor
from lightcl_host.graphs.module_paths import copy_scopes

if TYPE_CHECKING:
    import onnx


def mixed_concatenations(graph: onnx.GraphProto, constants: set[str]) -> list[onnx.NodeProto]:
    """The nodes that put constants beside activations."""
    return [
        node
        for node in graph.node
        if node.op_type == "Concat" and 0 < sum(name in constants for name in node.input) < len(node.input)
    ]


def add_constant_parts(graph: onnx.GraphProto, shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Turn ``Concat(constant, x)`` into ``Pad(x) + constant``, in place; ``shapes`` has those of each such ``x``."""
    weights = {tensor.name: tensor for tensor in graph.initializer}
    mixed = {node.output[0] for node in mixed_concatenations(graph, set(weights))}
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        nodes += _padded(graph, node, weights, shapes) if node.output[0] in mixed else [node]
    replace_all(graph.node, nodes)


def _padded(
    graph: onnx.GraphProto,
    node: onnx.NodeProto,
    weights: Mapping[str, onnx.TensorProto],
    shapes: Mapping[str, tuple[int, ...]],
) -> list[onnx.NodeProto]:
    import onnx

    out = node.output[0]
    active = [name for name in node.input if name not in weights]
    rank = len(shapes[active[0]])
    axis = integer_attribute(node, "axis", 0) % rank
    parts: list[NDArray[np.generic] | int] = [
        to_array(weights[name]) if name in weights else shapes[name][axis] for name in node.input
    ]
    constant = next(part for part in parts if not isinstance(part, int))
    filled = [_zeros(constant, axis, part) if isinstance(part, int) else part for part in parts]
    graph.initializer.append(to_tensor(np.concatenate(filled, axis), f"{out}.constant"))
    sizes = [part.shape[axis] for part in filled]
    places = [index for index, part in enumerate(parts) if isinstance(part, int)]
    made, padded = [], []
    for number, place in enumerate(places):
        before = sum(sizes[(places[number - 1] + 1 if number else 0) : place])
        after = sum(sizes[place + 1 :]) if number == len(places) - 1 else 0
        pads = np.zeros(2 * rank, np.int64)
        pads[axis], pads[rank + axis] = before, after
        name = f"{out}.padded.{number}"
        graph.initializer.append(to_tensor(pads, f"{name}.pads"))
        made.append(onnx.helper.make_node("Pad", [node.input[place], f"{name}.pads"], [name]))
        padded.append(name)
    if len(padded) > 1:
        made.append(onnx.helper.make_node("Concat", padded, [f"{out}.padded"], axis=axis))
    made.append(onnx.helper.make_node("Add", [made[-1].output[0], f"{out}.constant"], [out]))
    for added in made:
        copy_scopes(node, added)
    return made


def _zeros(like: NDArray[np.generic], axis: int, size: int) -> NDArray[np.generic]:
    shape = list(like.shape)
    shape[axis] = size
    return np.zeros(shape, like.dtype)
