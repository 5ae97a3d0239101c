"""Whether a device can train what follows a cut, and if not, which operator is in the way."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lightcl_host.graphs.graph import GraphView, attribute, integer_attribute
from lightcl_host.graphs.operators import TRAINABLE_OPERATORS

if TYPE_CHECKING:
    import onnx

_IMAGE_RANK, _MATRIX_RANK, _COMPARED = 4, 2, 2
#: What must be constant besides an operator's first input.
_CONSTANT_INPUTS = {
    "Gather": "indices",
    "Pow": "exponents",
    "Tile": "repeats",
    **dict.fromkeys(("Pad", "Slice", "Clip"), "bounds"),
    **dict.fromkeys(("ReduceL2", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceSum", "ReduceSumSquare"), "axes"),
}


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
    computed = any(name in view.activations for name in list(node.input)[1:])
    if node.op_type in ("Conv", "ConvTranspose", "Gemm") and computed:
        return f"{where} has weights that depend on the image"
    if node.op_type in ("Conv", "ConvTranspose") and len(view.weights[node.input[1]].dims) != _IMAGE_RANK:
        return f"{where} is not two-dimensional"
    if node.op_type in _CONSTANT_INPUTS and computed:
        return f"{where} has {_CONSTANT_INPUTS[node.op_type]} that depend on the image"
    if node.op_type == "Pad" and attribute(node, "mode", b"constant") != b"constant":
        return f"{where} pads with more than a constant"
    if node.op_type in ("Max", "Min") and len(node.input) != _COMPARED:
        return f"{where} compares {len(node.input)} tensors, expected {_COMPARED}"
    if node.op_type == "MatMul" and min(len(_dims(view, name)) for name in node.input) < _MATRIX_RANK:
        return f"{where} multiplies a vector"
    if node.op_type == "Resize" and not _stretches(node):
        return f"{where} crops or keeps the aspect ratio"
    if node.op_type == "LeakyRelu" and float(str(attribute(node, "alpha", 0.01))) < 0:
        return f"{where} has a slope below zero"
    return ""


def _dims(view: GraphView, name: str) -> tuple[int, ...]:
    """The shape of a tensor; an activation of unknown shape counts as a matrix."""
    if name in view.weights:
        return tuple(view.weights[name].dims)
    return (0, *view.shapes[name]) if name in view.shapes else (0,) * _MATRIX_RANK


def _stretches(node: onnx.NodeProto) -> bool:
    policy = attribute(node, "keep_aspect_ratio_policy", b"stretch")
    return policy == b"stretch" and attribute(node, "coordinate_transformation_mode") != b"tf_crop_and_resize"
