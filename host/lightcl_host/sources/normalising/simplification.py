"""Remove nodes that do nothing: exporters write many of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lightcl_host.graphs.graph import GraphView, attribute, drop_unused, replace_all, to_array

if TYPE_CHECKING:
    import onnx

#: These do nothing where the shape stays the same.
_RESHAPING = frozenset({"Reshape", "Expand", "Flatten", "Squeeze", "Unsqueeze", "Slice"})


def drop_without_effect(model: onnx.ModelProto) -> None:
    """Remove them from a shape-inferred graph, in place; two transpositions after another become one or none."""
    graph, view = model.graph, GraphView(model)
    names: dict[str, str] = {}
    kept: list[onnx.NodeProto] = []
    for node in graph.node:
        for index, name in enumerate(node.input):
            node.input[index] = names.get(name, name)
        if node.op_type == "Transpose":
            _join(view, node)
        elif node.op_type == "Reshape":
            _skip_reshape(view, node)
        if _does_nothing(view, node):
            names[node.output[0]] = node.input[0]
        else:
            kept.append(node)
    replace_all(graph.node, kept)
    for output in graph.output:
        output.name = names.get(output.name, output.name)
    drop_unused(graph)


def _does_nothing(view: GraphView, node: onnx.NodeProto) -> bool:
    if node.input and node.input[0] not in view.activations:
        return False
    if node.op_type == "Transpose":
        order = attribute(node, "perm")
        return isinstance(order, list) and order == sorted(order)
    if node.op_type == "Pad":
        return node.input[1] in view.weights and not np.any(to_array(view.weights[node.input[1]]))
    if node.op_type == "Cast":
        return attribute(node, "to") == 1 and _is_float(view, node.input[0])
    return (node.op_type == "Concat" and len(node.input) == 1) or _keeps_shape(view, node)


def _keeps_shape(view: GraphView, node: onnx.NodeProto) -> bool:
    if node.op_type == "Slice" and len(node.input) > 4 and not _all_ones(view, node.input[4]):
        return False
    dims = view.dims.get(node.input[0]) if node.input else None
    return node.op_type in _RESHAPING and dims is not None and dims == view.dims.get(node.output[0])


def _all_ones(view: GraphView, name: str) -> bool:
    return name in view.weights and bool(np.all(to_array(view.weights[name]) == 1))


def _is_float(view: GraphView, tensor: str) -> bool:
    infos = [*view.graph.value_info, *view.graph.input]
    return any(info.name == tensor and info.type.tensor_type.elem_type == 1 for info in infos)


def _join(view: GraphView, node: onnx.NodeProto) -> None:
    """Let a transposition of a transposition read the first one's input."""
    import onnx

    first = view.source(node.input[0])
    outer, inner = attribute(node, "perm"), None if first is None else attribute(first, "perm")
    if first is None or first.op_type != "Transpose" or not isinstance(outer, list) or not isinstance(inner, list):
        return
    node.input[0] = first.input[0]
    replace_all(node.attribute, [onnx.helper.make_attribute("perm", [inner[axis] for axis in outer])])


def _skip_reshape(view: GraphView, node: onnx.NodeProto) -> None:
    """Let a reshape of a reshape read the first one's input."""
    first = view.source(node.input[0])
    if first is None or first.op_type not in ("Reshape", "Flatten", "Squeeze", "Unsqueeze"):
        return
    if node.input[1] in view.weights and np.all(to_array(view.weights[node.input[1]]) != 0):
        node.input[0] = first.input[0]
