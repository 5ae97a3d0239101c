"""Gradients of operators of two tensors; where an input was broadcast, its gradient is summed back to its shape."""

from collections.abc import Sequence

from lightcl_edge.errors import BundleError
from lightcl_host.autodiff.builder import ForwardNode, GraphBuilder
from lightcl_host.autodiff.gradients import Gradient
from lightcl_host.autodiff.rules.registry import BackwardNode, rule, saves_inputs


@rule("Add", "Sub", spreads=True)
def add(graph: GraphBuilder, back: BackwardNode) -> Sequence[Gradient]:
    """The gradient itself for each summand, negated for a subtrahend."""
    node, shape, gradients = back.node, graph.shape(back.node.outputs[0]), list[Gradient]()
    for position, name in enumerate(node.inputs):
        if not back.wanted[position]:
            gradients.append(None)
            continue
        gradient, target = back.gradient, graph.shape(name)
        if target != shape:
            gradient = graph.reduce_to(graph.full(gradient, shape), shape, target)
        if node.kind == "Sub" and position == 1:
            lazy = graph.shapes.get(gradient)
            gradient = graph.op("Neg", gradient)
            if lazy is not None and target == shape:
                graph.shapes[gradient] = lazy
        gradients.append(gradient)
    return gradients


@rule("Mul", saves=saves_inputs)
def multiply(graph: GraphBuilder, back: BackwardNode) -> Sequence[Gradient]:
    """The gradient times the other factor."""
    node, shape, gradients = back.node, graph.shape(back.node.outputs[0]), list[Gradient]()
    for position, name in enumerate(node.inputs):
        if not back.wanted[position]:
            gradients.append(None)
            continue
        product = graph.op("Mul", back.gradient, node.inputs[1 - position])
        gradients.append(graph.reduce_to(product, shape, graph.shape(name)))
    return gradients


@rule("Neg", spreads=True)
def negate(graph: GraphBuilder, back: BackwardNode) -> Sequence[Gradient]:
    return [graph.op("Neg", back.gradient)]


def _saves_quotient(node: ForwardNode, wanted: Sequence[bool]) -> Sequence[str]:
    return [node.inputs[1], *(node.outputs[:1] if wanted[1] else [])]


@rule("Div", saves=_saves_quotient)
def divide(graph: GraphBuilder, back: BackwardNode) -> Sequence[Gradient]:
    """``g / b`` for the dividend, ``-g y / b`` for the divisor."""
    node, shape, gradients = back.node, graph.shape(back.node.outputs[0]), list[Gradient]([None, None])
    share = graph.op("Div", back.gradient, node.inputs[1])
    if back.wanted[1]:
        product = graph.op("Neg", graph.op("Mul", share, node.outputs[0]))
        gradients[1] = graph.reduce_to(product, shape, graph.shape(node.inputs[1]))
    if back.wanted[0]:
        gradients[0] = graph.reduce_to(share, shape, graph.shape(node.inputs[0]))
    return gradients


@rule("Where")
def where(graph: GraphBuilder, back: BackwardNode) -> Sequence[Gradient]:
    """The gradient goes to what was chosen."""
    node, shape, gradients = back.node, graph.shape(back.node.outputs[0]), list[Gradient]([None] * 3)
    for position in (1, 2):
        if back.wanted[position]:
            chosen = node.inputs[0] if position == 1 else graph.op("Not", node.inputs[0])
            part = graph.op("Mul", graph.mask(chosen), back.gradient)
            gradients[position] = graph.reduce_to(part, shape, graph.shape(node.inputs[position]))
    return gradients


@rule("Max", "Min", saves=lambda node, _: node.inputs[:2])
def extreme(graph: GraphBuilder, back: BackwardNode) -> Sequence[Gradient]:
    """The gradient goes to the larger or smaller of two; where they are equal, to the first."""
    node, shape = back.node, graph.shape(back.node.outputs[0])
    if len(node.inputs) != 2:
        raise BundleError(f"head.onnx: {node.describe()} compares {len(node.inputs)} tensors, expected 2 to train it")
    gradients = list[Gradient]([None, None])
    first = graph.op("GreaterOrEqual" if node.kind == "Max" else "LessOrEqual", *node.inputs)
    for position, name in enumerate(node.inputs):
        if back.wanted[position]:
            chosen = graph.mask(graph.op("Not", first) if position else first)
            part = graph.op("Mul", chosen, back.gradient)
            gradients[position] = graph.reduce_to(part, shape, graph.shape(name))
    return gradients
