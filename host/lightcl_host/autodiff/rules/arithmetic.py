"""Gradients of Add, Sub and Mul; where an input was broadcast, its gradient is summed back to its shape."""

from collections.abc import Sequence

from lightcl_host.autodiff.builder import GraphBuilder
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
