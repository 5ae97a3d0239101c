"""Gradients of element-wise functions of one tensor.

At the points where a function has no derivative the choice is PyTorch's.
"""

from collections.abc import Sequence

from lightcl_edge.errors import BundleError
from lightcl_host.autodiff.builder import ForwardNode, GraphBuilder
from lightcl_host.autodiff.gradients import Gradient
from lightcl_host.autodiff.rules.registry import BackwardNode, rule, saves_first_input, saves_output

#: Operators whose gradient needs only to know where the result was within its bounds.
GATING_OPERATORS = frozenset({"Relu", "Clip", "HardSigmoid", "LeakyRelu"})


def _open_interval(graph: GraphBuilder, tensor: str, low: str | None, high: str | None) -> str | None:
    """A boolean tensor, true where ``low < tensor < high``; None if there are no bounds."""
    above = graph.op("Greater", tensor, low) if low else None
    below = graph.op("Less", tensor, high) if high else None
    if above and below:
        return graph.op("And", above, below)
    return above or below


def gate_of(graph: GraphBuilder, node: ForwardNode) -> str | None:
    """Where a Relu, Clip, HardSigmoid or LeakyRelu lets all of the gradient through, computed from its result alone."""
    result = node.outputs[0]
    if node.kind in ("Relu", "LeakyRelu"):
        return _open_interval(graph, result, graph.constant(0), None)
    if node.kind == "HardSigmoid":
        return _open_interval(graph, result, graph.constant(0), graph.constant(1))
    bounds = [name or None for name in [*node.inputs[1:], "", ""][:2]]
    return _open_interval(graph, result, bounds[0], bounds[1])


@rule("Relu", "Clip", spreads=True, saves=saves_output)
def gated(graph: GraphBuilder, back: BackwardNode) -> Sequence[Gradient]:
    """Pass the gradient where the input was strictly within the bounds."""
    gate = graph.gates.get(back.node.outputs[0]) or gate_of(graph, back.node)
    return [graph.op("Mul", graph.mask(gate), back.gradient) if gate else back.gradient]


@rule("HardSigmoid", spreads=True, saves=saves_output)
def hard_sigmoid(graph: GraphBuilder, back: BackwardNode) -> Sequence[Gradient]:
    """``alpha`` on the slope, 0 on the flats."""
    gate = graph.gates.get(back.node.outputs[0]) or gate_of(graph, back.node)
    slope = graph.constant(back.node.attributes.get("alpha", 0.2))
    return [graph.op("Mul", graph.op("Mul", graph.mask(str(gate)), back.gradient), slope)]


@rule("LeakyRelu", spreads=True, saves=saves_output)
def leaky(graph: GraphBuilder, back: BackwardNode) -> Sequence[Gradient]:
    """1 above 0, ``alpha`` below."""
    node, alpha = back.node, float(back.node.attributes.get("alpha", 0.01))
    if alpha < 0:
        raise BundleError(f"head.onnx: {node.describe()} has the slope {alpha:g}, expected at least 0 to train it")
    gate = graph.gates.get(node.outputs[0]) or gate_of(graph, node)
    rest = graph.op("Mul", graph.mask(str(gate)), graph.constant(1 - alpha))
    return [graph.op("Mul", graph.op("Add", rest, graph.constant(alpha)), back.gradient)]


@rule("Sigmoid", spreads=True, saves=saves_output)
def sigmoid(graph: GraphBuilder, back: BackwardNode) -> Sequence[Gradient]:
    """``s (1 - s)``."""
    result = back.node.outputs[0]
    slope = graph.op("Mul", graph.op("Sub", graph.constant(1), result), result)
    return [graph.op("Mul", slope, back.gradient)]


@rule("HardSwish", spreads=True, saves=saves_first_input)
def hard_swish(graph: GraphBuilder, back: BackwardNode) -> Sequence[Gradient]:
    """``x/3 + 1/2`` between -3 and 3, 0 below, 1 above."""
    x = back.node.inputs[0]
    line = graph.op("Add", graph.op("Mul", x, graph.constant(1 / 3)), graph.constant(0.5))
    inside = _open_interval(graph, x, graph.constant(-3), graph.constant(3))
    slope = graph.op("Mul", graph.mask(str(inside)), line)
    above = graph.mask(graph.op("GreaterOrEqual", x, graph.constant(3)))
    return [graph.op("Mul", graph.op("Add", slope, above), back.gradient)]


@rule("Identity", "Dropout", spreads=True)
def identity(_graph: GraphBuilder, back: BackwardNode) -> Sequence[Gradient]:
    """The gradient unchanged; Dropout does nothing in an inference graph."""
    return [back.gradient]
