"""Whether a device can train what follows a cut, and if not, which operator is in the way."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import TYPE_CHECKING

from lightcl_host.graphs.graph import GraphView, attribute, integer_attribute
from lightcl_host.graphs.operators import TRAINABLE_OPERATORS

if TYPE_CHECKING:
    import onnx

_IMAGE_RANK, _MATRIX_RANK, _COMPARED = 4, 2, 2


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
    found = next((problem for kinds, problem, holds in _OBSTACLES if node.op_type in kinds and holds(view, node)), "")
    return f"{where} {found}" if found else ""


def _computed(view: GraphView, node: onnx.NodeProto) -> bool:
    """Whether an input after the first depends on the image."""
    return any(name in view.activations for name in list(node.input)[1:])


def _dims(view: GraphView, name: str) -> tuple[int, ...]:
    """The shape of a tensor; an activation of unknown shape counts as a matrix."""
    if name in view.weights:
        return tuple(view.weights[name].dims)
    return (0, *view.shapes[name]) if name in view.shapes else (0,) * _MATRIX_RANK


def _stretches(node: onnx.NodeProto) -> bool:
    policy = attribute(node, "keep_aspect_ratio_policy", b"stretch")
    return policy == b"stretch" and attribute(node, "coordinate_transformation_mode") != b"tf_crop_and_resize"


_SUMS = ("ReduceL2", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceSum", "ReduceSumSquare")
#: Operators, why one of them can't be trained, and when that is so; the first that holds counts.
_OBSTACLES: tuple[tuple[Collection[str], str, Callable[[GraphView, onnx.NodeProto], bool]], ...] = (
    (("Conv", "ConvTranspose", "Gemm"), "has weights that depend on the image", _computed),
    (("Conv",), "has more than two dimensions", lambda view, node: len(_dims(view, node.input[1])) > _IMAGE_RANK),
    (("ConvTranspose",), "is not two-dimensional", lambda view, node: len(_dims(view, node.input[1])) != _IMAGE_RANK),
    (("Gather",), "has indices that depend on the image", _computed),
    (("Pow",), "has an exponent that depends on the image", _computed),
    (("Clip", "Pad", "Slice", "Tile"), "has bounds that depend on the image", _computed),
    (_SUMS, "has axes that depend on the image", _computed),
    (
        ("Pad",),
        "pads with more than a constant",
        lambda _, node: attribute(node, "mode", b"constant") != b"constant",
    ),
    (("Max", "Min"), "compares more than two tensors", lambda _, node: len(node.input) != _COMPARED),
    (
        ("MatMul",),
        "multiplies a vector",
        lambda view, node: min(len(_dims(view, name)) for name in node.input) < _MATRIX_RANK,
    ),
    (("Resize",), "crops or keeps the aspect ratio", lambda _, node: not _stretches(node)),
    (("LeakyRelu",), "has a slope below zero", lambda _, node: float(str(attribute(node, "alpha", 0.01))) < 0),
)
