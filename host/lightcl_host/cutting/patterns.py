"""The activations of a head that LightCL keeps as "feature patterns"."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lightcl_host.graphs.graph import GraphView
from lightcl_host.graphs.operators import GATE_OPERATORS, PATTERN_OPERATORS

if TYPE_CHECKING:
    import onnx


def pattern_tensors(head: onnx.ModelProto) -> list[str]:
    """Outputs of the activations of a shape-inferred head, in its order, without squeeze-and-excite paths."""
    view = GraphView(head)
    return [
        node.output[0]
        for node in view.graph.node
        if _is_activation(view, node) and node.output[0] in view.shapes and not _gates_a_map(view, node.output[0])
    ]


def _is_activation(view: GraphView, node: onnx.NodeProto) -> bool:
    if node.op_type != "Mul":
        return node.op_type in PATTERN_OPERATORS
    first, second = node.input
    return _gates_itself(view, first, second) or _gates_itself(view, second, first)


def _gates_itself(view: GraphView, tensor: str, gate: str) -> bool:
    """``tensor * gate(tensor)``: SiLU or hard-swish."""
    source = view.source(gate)
    return source is not None and source.op_type in GATE_OPERATORS and source.input[0] == tensor


def _positions(view: GraphView, tensor: str) -> int:
    """Spatial positions of an activation; 1 for a vector."""
    height_and_width = view.shapes.get(tensor, ())[1:]
    return height_and_width[0] * height_and_width[1] if len(height_and_width) == 2 else 1


def _gates_a_map(view: GraphView, tensor: str) -> bool:
    """Whether the tensor has one position a channel and leads to a product with a larger map."""
    if _positions(view, tensor) > 1:
        return False
    waiting, seen = [tensor], {tensor}
    while waiting:
        name = waiting.pop()
        for index in view.consumers.get(name, []):
            node = view.graph.node[index]
            if node.op_type == "Mul" and max(_positions(view, other) for other in node.input) > 1:
                return True
            for output in node.output:
                if output not in seen and _positions(view, output) == 1:
                    seen.add(output)
                    waiting.append(output)
    return False
