"""Whether a device can train what follows a cut, and if not, which operator is in the way."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lightcl_host.graphs.graph import GraphView, attribute, integer_attribute
from lightcl_host.graphs.operators import TRAINABLE_OPERATORS

if TYPE_CHECKING:
    import onnx


def reasons_against(view: GraphView) -> list[str]:
    """For each node, the first operator that keeps a head after it from being trained; ``""`` for none."""
    reasons = [""] * len(view.graph.node)
    reason = _no_classifier(view)
    for index in range(len(view.graph.node) - 1, -1, -1):
        reasons[index] = reason
        if view.active_inputs(index):
            reason = _obstacle(view, view.graph.node[index]) or reason
    return reasons


def obstacle_from_image(view: GraphView) -> str:
    """The operator that keeps the whole network from being trained; ``""`` for none."""
    active = (node for index, node in enumerate(view.graph.node) if view.active_inputs(index))
    return next(filter(None, (_obstacle(view, node) for node in active)), _no_classifier(view))


def _no_classifier(view: GraphView) -> str:
    """Why the last node is no linear layer with constant weights; ``""`` when it is."""
    last = view.graph.node[-1]
    constant = all(name in view.weights for name in list(last.input)[1:] if name)
    if last.op_type == "Gemm" and integer_attribute(last, "transA", 0) == 0 and constant:
        return ""
    return f"it ends in operator {last.op_type} ({last.output[0]}), expected a linear classifier (Gemm)"


def _obstacle(view: GraphView, node: onnx.NodeProto) -> str:
    """Why this node can't be trained through; ``""`` when it can."""
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
