"""Gradients of sums, means, largest values and lengths over axes.

They keep side 1 along the reduced axes: a gradient broadcasts where it is used.
"""

from collections.abc import Sequence

import numpy as np

from lightcl_host.autodiff.builder import ForwardNode, GraphBuilder, Shape
from lightcl_host.autodiff.gradients import Gradient
from lightcl_host.autodiff.rules.registry import BackwardNode, rule, saves_first_input


def _axes(graph: GraphBuilder, node: ForwardNode) -> list[int]:
    """The reduced axes, counted from the first; none where the operator does nothing."""
    rank, given = len(graph.shape(node.inputs[0])), node.ints("axes", [])  # an attribute first, an input since opset 18
    if len(node.inputs) > 1 and node.inputs[1]:
        given = graph.value(node.inputs[1], node).tolist()
    if not given and node.attributes.get("noop_with_empty_axes", 0):
        return []
    return sorted(axis % rank for axis in given) or list(range(rank))


def _kept(source: Shape, axes: Sequence[int]) -> Shape:
    return tuple(1 if axis in axes else side for axis, side in enumerate(source))


def _shared(graph: GraphBuilder, back: BackwardNode, axes: Sequence[int], share: float) -> str:
    """``share`` times the gradient, with all axes."""
    kept = _kept(graph.shape(back.node.inputs[0]), axes)
    gradient = graph.reshape(back.gradient, kept)
    if share != 1:
        gradient = graph.op("Mul", gradient, graph.constant(share))
    graph.shapes[gradient] = kept
    return gradient


def _mean(graph: GraphBuilder, back: BackwardNode, axes: Sequence[int]) -> str:
    source = graph.shape(back.node.inputs[0])
    return _shared(graph, back, axes, 1 / int(np.prod([source[axis] for axis in axes])))


@rule("GlobalAveragePool")
def global_average_pool(graph: GraphBuilder, back: BackwardNode) -> Sequence[Gradient]:
    """An equal share for each pixel."""
    return [_mean(graph, back, range(2, len(graph.shape(back.node.inputs[0]))))]


@rule("ReduceMean")
def reduce_mean(graph: GraphBuilder, back: BackwardNode) -> Sequence[Gradient]:
    """An equal share for each averaged value."""
    axes = _axes(graph, back.node)
    return [_mean(graph, back, axes) if axes else back.gradient]


@rule("ReduceSum")
def reduce_sum(graph: GraphBuilder, back: BackwardNode) -> Sequence[Gradient]:
    """The gradient itself for each summand."""
    axes = _axes(graph, back.node)
    return [_shared(graph, back, axes, 1) if axes else back.gradient]


def _saves_both(node: ForwardNode, _wanted: Sequence[bool]) -> Sequence[str]:
    return [node.inputs[0], node.outputs[0]]


@rule("ReduceMax", "ReduceMin", "GlobalMaxPool", saves=_saves_both)
def reduce_extreme(graph: GraphBuilder, back: BackwardNode) -> Sequence[Gradient]:
    """Equal shares for all values that equal the largest or smallest."""
    node, source = back.node, graph.shape(back.node.inputs[0])
    axes = list(range(2, len(source))) if node.kind == "GlobalMaxPool" else _axes(graph, node)
    kept = _kept(source, axes)
    equal = graph.mask(graph.op("Equal", node.inputs[0], graph.reshape(node.outputs[0], kept)))
    share = graph.op("Div", graph.reshape(back.gradient, kept), graph.sum(equal, axes, keep=True))
    return [graph.op("Mul", equal, share)]


@rule("ReduceL2", saves=_saves_both)
def reduce_length(graph: GraphBuilder, back: BackwardNode) -> Sequence[Gradient]:
    """``x / length``; 0 where the length is 0, as in PyTorch."""
    node, source = back.node, graph.shape(back.node.inputs[0])
    kept = _kept(source, _axes(graph, node))
    length = graph.reshape(node.outputs[0], kept)
    none = graph.mask(graph.op("Equal", length, graph.constant(0)))
    share = graph.op("Div", graph.reshape(back.gradient, kept), graph.op("Add", length, none))
    return [graph.op("Mul", node.inputs[0], share)]


@rule("ReduceSumSquare", saves=saves_first_input)
def reduce_squares(graph: GraphBuilder, back: BackwardNode) -> Sequence[Gradient]:
    """``2 x``."""
    node, source = back.node, graph.shape(back.node.inputs[0])
    share = graph.op("Mul", graph.reshape(back.gradient, _kept(source, _axes(graph, node))), graph.constant(2))
    return [graph.op("Mul", node.inputs[0], share)]
