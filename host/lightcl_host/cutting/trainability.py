"""Whether a device can train what follows a cut, and if not, which operator is in the way."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lightcl_host.graphs.graph import GraphView, attribute, integer_attribute
from lightcl_host.graphs.operators import TRAINABLE_OPERATORS

if TYPE_CHECKING:
    import onnx


def reasons_against(view: GraphView) -> list[str]:
    """For each node, why a head that starts after it can't be trained; ``""`` when it can.

    Args:
        view: of a graph in normal form.

    Returns:
        One text a node, naming the first operator in the way.
    """
    reasons = [""] * len(view.graph.node)
    reason = "" if is_linear_classifier(view.graph.node[-1], view.weights) else _no_classifier(view)
    for index in range(len(view.graph.node) - 1, -1, -1):
        reasons[index] = reason
        if view.active_inputs(index):
            reason = _obstacle(view, view.graph.node[index]) or reason
    return reasons


def obstacle_from_image(view: GraphView) -> str:
    """Why the whole network can't be trained, naming an operator; ``""`` when it can."""
    nodes = range(len(view.graph.node))
    found = next((text for index in nodes if (text := _obstacle_at(view, index))), "")
    return found or ("" if is_linear_classifier(view.graph.node[-1], view.weights) else _no_classifier(view))


def _obstacle_at(view: GraphView, index: int) -> str:
    return _obstacle(view, view.graph.node[index]) if view.active_inputs(index) else ""


def is_linear_classifier(node: onnx.NodeProto, weights: dict[str, onnx.TensorProto]) -> bool:
    """Whether the node is a plain linear layer with constant weights."""
    constant = all(name in weights for name in list(node.input)[1:] if name)
    return node.op_type == "Gemm" and integer_attribute(node, "transA", 0) == 0 and constant


def _no_classifier(view: GraphView) -> str:
    last = view.graph.node[-1]
    return f"it ends in operator {last.op_type} ({last.output[0]}), expected a linear classifier (Gemm)"


def _obstacle(view: GraphView, node: onnx.NodeProto) -> str:
    """What keeps this one node from being trained through."""
    where = f"operator {node.op_type} ({node.output[0]})"
    if node.op_type not in TRAINABLE_OPERATORS:
        return f"{where} is outside the trainable list"
    if node.op_type in ("Conv", "Gemm") and any(name in view.activations for name in list(node.input)[1:]):
        return f"{where} has weights that depend on the image"
    if node.op_type == "Conv" and len(view.weights[node.input[1]].dims) != 4:
        return f"{where} is not two-dimensional"
    if node.op_type == "MatMul" and all(name in view.activations for name in node.input):
        return f"{where} multiplies two activations (attention)"
    if node.op_type == "Pad" and attribute(node, "mode", b"constant") != b"constant":
        return f"{where} pads with more than a constant"
    return ""
