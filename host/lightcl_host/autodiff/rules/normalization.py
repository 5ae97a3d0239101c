"""Gradients of layers that normalise by the mean and variance of their own input.

With ``g`` the gradient of the normalised values ``n = (x - mean) / deviation``, and all means over the normalised
values: ``dx = (g - mean(g) - n mean(g n)) / deviation`` (Ba, Kiros and Hinton, 2016).
"""

import math
from collections.abc import Sequence

import numpy as np

from lightcl_host.autodiff.builder import GraphBuilder
from lightcl_host.autodiff.gradients import Gradient
from lightcl_host.autodiff.rules.registry import BackwardNode, rule, saves_first_input


def _mean(graph: GraphBuilder, tensor: str, axes: Sequence[int]) -> str:
    return graph.op("ReduceMean", tensor, graph.ints(axes), keepdims=1)


def _normalised(graph: GraphBuilder, x: str, side: int, epsilon: float) -> tuple[str, str]:
    """``x`` normalised over its last axis, and one over its deviation: made again rather than kept."""
    result = graph.op("LayerNormalization", x, graph.constant(np.ones(side)), epsilon=epsilon)
    graph.nodes[-1].output.extend([f"{result}/mean", f"{result}/inverse"])
    return result, f"{result}/inverse"


def _back(graph: GraphBuilder, gradient: str, normal: str, inverse: str, axes: Sequence[int]) -> str:
    """``dx`` of the module's docstring."""
    mean = _mean(graph, gradient, axes)
    along = _mean(graph, graph.op("Mul", gradient, normal), axes)
    rest = graph.op("Sub", graph.op("Sub", gradient, mean), graph.op("Mul", normal, along))
    return graph.op("Mul", rest, inverse)


@rule("LayerNormalization", saves=saves_first_input)
def layer_normalization(graph: GraphBuilder, back: BackwardNode) -> Sequence[Gradient]:
    """Gradients of input, scale and bias; the axes from ``axis`` on are normalised together."""
    node, x, shape = back.node, back.node.inputs[0], graph.shape(back.node.inputs[0])
    first = int(node.attributes.get("axis", -1)) % len(shape)
    flat = [*shape[:first], math.prod(shape[first:])]
    epsilon = float(node.attributes.get("epsilon", 1e-5))
    normal, inverse = _normalised(graph, graph.reshape(x, flat) if first < len(shape) - 1 else x, flat[-1], epsilon)
    if first < len(shape) - 1:
        normal = graph.reshape(normal, shape)
        inverse = graph.reshape(inverse, [*shape[:first], *[1] * (len(shape) - first)])
    return _scaled(graph, back, normal, inverse, list(range(first, len(shape))))


def _scaled(
    graph: GraphBuilder, back: BackwardNode, normal: str, inverse: str, axes: Sequence[int]
) -> Sequence[Gradient]:
    """Gradients where the scale and the bias broadcast to the shape of the input."""
    node, gradient, shape = back.node, back.gradient, graph.shape(back.node.inputs[0])
    gradients = list[Gradient]([None] * len(node.inputs))
    if any(back.wanted[2:]):
        gradients[2] = graph.reduce_to(gradient, shape, graph.shape(node.inputs[2]))
    if back.wanted[1]:
        gradients[1] = graph.reduce_to(graph.op("Mul", gradient, normal), shape, graph.shape(node.inputs[1]))
    if back.wanted[0]:
        gradients[0] = _back(graph, graph.op("Mul", gradient, node.inputs[1]), normal, inverse, axes)
    return gradients


@rule("RMSNormalization", saves=saves_first_input)
def rms_normalization(graph: GraphBuilder, back: BackwardNode) -> Sequence[Gradient]:
    """As a layer normalisation without the mean: ``dx = (g - n mean(g n)) / root``."""
    node, gradient, x, shape = back.node, back.gradient, back.node.inputs[0], graph.shape(back.node.inputs[0])
    axes = list(range(int(node.attributes.get("axis", -1)) % len(shape), len(shape)))
    epsilon = graph.constant(node.attributes.get("epsilon", 1e-5))
    square = _mean(graph, graph.op("Mul", x, x), axes)
    inverse = graph.op("Reciprocal", graph.op("Sqrt", graph.op("Add", square, epsilon)))
    normal = graph.op("Mul", x, inverse)
    gradients = list[Gradient]([None, None])
    if back.wanted[1]:
        gradients[1] = graph.reduce_to(graph.op("Mul", gradient, normal), shape, graph.shape(node.inputs[1]))
    if back.wanted[0]:
        scaled = graph.op("Mul", gradient, node.inputs[1])
        along = _mean(graph, graph.op("Mul", scaled, normal), axes)
        gradients[0] = graph.op("Mul", graph.op("Sub", scaled, graph.op("Mul", normal, along)), inverse)
    return gradients


@rule("InstanceNormalization", "GroupNormalization", saves=saves_first_input)
def group_normalization(graph: GraphBuilder, back: BackwardNode) -> Sequence[Gradient]:
    """Channels are normalised in groups, each alone for an instance; scale and bias have one value a channel."""
    node, gradient, shape = back.node, back.gradient, graph.shape(back.node.inputs[0])
    groups = int(node.attributes.get("num_groups", shape[1]))
    rows = [shape[0], groups, math.prod(shape[1:]) // groups]
    by_channel = [shape[0], shape[1], math.prod(shape[2:])]
    epsilon = float(node.attributes.get("epsilon", 1e-5))
    normal, inverse = _normalised(graph, graph.reshape(node.inputs[0], rows), rows[2], epsilon)
    upstream = graph.reshape(gradient, by_channel)
    gradients = list[Gradient]([None] * 3)
    if back.wanted[2]:
        gradients[2] = graph.sum(upstream, [0, 2])
    if back.wanted[1]:
        gradients[1] = graph.sum(graph.op("Mul", upstream, graph.reshape(normal, by_channel)), [0, 2])
    if back.wanted[0]:
        scaled = graph.op("Mul", upstream, graph.reshape(node.inputs[1], [shape[1], 1]))
        passed = _back(graph, graph.reshape(scaled, rows), normal, inverse, [2])
        gradients[0] = graph.reshape(passed, shape)
    return gradients


@rule("Softmax", saves=lambda node, _: node.outputs[:1])
def softmax(graph: GraphBuilder, back: BackwardNode) -> Sequence[Gradient]:
    """``y (g - sum(g y))``; the product is made first because it can take the memory of ``g``."""
    result = back.node.outputs[0]
    axis = int(back.node.attributes.get("axis", -1))
    product = graph.op("Mul", back.gradient, result)
    return [graph.op("Sub", product, graph.op("Mul", result, graph.sum(product, [axis], keep=True)))]


@rule("LogSoftmax", saves=lambda node, _: node.outputs[:1])
def log_softmax(graph: GraphBuilder, back: BackwardNode) -> Sequence[Gradient]:
    """``g - exp(y) sum(g)``."""
    total = graph.sum(back.gradient, [int(back.node.attributes.get("axis", -1))], keep=True)
    return [graph.op("Sub", back.gradient, graph.op("Mul", graph.op("Exp", back.node.outputs[0]), total))]
