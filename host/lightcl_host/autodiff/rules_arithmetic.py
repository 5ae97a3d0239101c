"""Gradients of Add, Sub and Mul, with the broadcast undone."""

from __future__ import annotations

from collections.abc import Sequence

from lightcl_host.autodiff.builder import ForwardNode, GraphBuilder
from lightcl_host.autodiff.registry import Gradient, rule, saves_inputs, upstream_of


@rule("Add", "Sub", spreads=True)
def add(
    graph: GraphBuilder, node: ForwardNode, upstream: Sequence[str | None], wanted: Sequence[bool]
) -> list[Gradient]:
    """The gradient itself for each summand, negated for a subtrahend."""
    shape, gradients = graph.shape(node.outputs[0]), list[Gradient]()
    for position, name in enumerate(node.inputs):
        if not wanted[position]:
            gradients.append(None)
            continue
        gradient, target = upstream_of(upstream), graph.shape(name)
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
def multiply(
    graph: GraphBuilder, node: ForwardNode, upstream: Sequence[str | None], wanted: Sequence[bool]
) -> list[Gradient]:
    """The gradient times the other factor."""
    shape, gradients = graph.shape(node.outputs[0]), list[Gradient]()
    for position, name in enumerate(node.inputs):
        if not wanted[position]:
            gradients.append(None)
            continue
        product = graph.op("Mul", upstream_of(upstream), node.inputs[1 - position])
        gradients.append(graph.reduce_to(product, shape, graph.shape(name)))
    return gradients
