"""Gradients of functions of one tensor whose slope is another function of the input or of the result."""

import math
from collections.abc import Sequence

from lightcl_edge.errors import BundleError
from lightcl_host.autodiff.builder import GraphBuilder
from lightcl_host.autodiff.gradients import Gradient
from lightcl_host.autodiff.rules.registry import BackwardNode, rule, saves_first_input, saves_output


def _bell(graph: GraphBuilder, x: str, power: float, factor: float) -> str:
    """``factor * exp(power * x^2)``."""
    square = graph.op("Mul", graph.op("Mul", x, graph.constant(power)), x)
    return graph.op("Mul", graph.op("Exp", square), graph.constant(factor))


@rule("Exp", spreads=True, saves=saves_output)
def exponential(graph: GraphBuilder, back: BackwardNode) -> Sequence[Gradient]:
    return [graph.op("Mul", back.node.outputs[0], back.gradient)]


@rule("Log", spreads=True, saves=saves_first_input)
def logarithm(graph: GraphBuilder, back: BackwardNode) -> Sequence[Gradient]:
    return [graph.op("Div", back.gradient, back.node.inputs[0])]


@rule("Sqrt", spreads=True, saves=saves_output)
def square_root(graph: GraphBuilder, back: BackwardNode) -> Sequence[Gradient]:
    half = graph.op("Mul", back.gradient, graph.constant(0.5))
    return [graph.op("Div", half, back.node.outputs[0])]


@rule("Reciprocal", spreads=True, saves=saves_output)
def reciprocal(graph: GraphBuilder, back: BackwardNode) -> Sequence[Gradient]:
    """``-y^2``."""
    result = back.node.outputs[0]
    square = graph.op("Mul", result, result)
    return [graph.op("Neg", graph.op("Mul", square, back.gradient))]


@rule("Abs", spreads=True, saves=saves_first_input)
def absolute(graph: GraphBuilder, back: BackwardNode) -> Sequence[Gradient]:
    return [graph.op("Mul", graph.op("Sign", back.node.inputs[0]), back.gradient)]


@rule("Pow", saves=saves_first_input)
def power(graph: GraphBuilder, back: BackwardNode) -> Sequence[Gradient]:
    """``e x^(e-1)`` for a constant exponent ``e``."""
    node, (x, name) = back.node, back.node.inputs
    if back.wanted[1]:
        raise BundleError(f"head.onnx: {node.describe()} has an exponent that is computed, expected a constant one")
    exponent = graph.value(name, node)
    if exponent.size == 1 and float(exponent.reshape(-1)[0]) == 2.0:
        slope = graph.op("Mul", x, graph.constant(2))
    else:
        slope = graph.op("Mul", graph.op("Pow", x, graph.constant(exponent - 1)), graph.constant(exponent))
    product = graph.op("Mul", slope, back.gradient)
    return [graph.reduce_to(product, graph.shape(node.outputs[0]), graph.shape(x))]


@rule("Tanh", spreads=True, saves=saves_output)
def hyperbolic_tangent(graph: GraphBuilder, back: BackwardNode) -> Sequence[Gradient]:
    """``1 - y^2``."""
    result = back.node.outputs[0]
    slope = graph.op("Sub", graph.constant(1), graph.op("Mul", result, result))
    return [graph.op("Mul", slope, back.gradient)]


@rule("Erf", spreads=True, saves=saves_first_input)
def error_function(graph: GraphBuilder, back: BackwardNode) -> Sequence[Gradient]:
    """``2 / sqrt(pi) exp(-x^2)``."""
    slope = _bell(graph, back.node.inputs[0], -1, 2 / math.sqrt(math.pi))
    return [graph.op("Mul", slope, back.gradient)]


@rule("Gelu", spreads=True, saves=saves_first_input)
def gelu(graph: GraphBuilder, back: BackwardNode) -> Sequence[Gradient]:
    """``F(x) + x F'(x)``, where ``F`` is the normal distribution or its approximation by a hyperbolic tangent."""
    x, attributes = back.node.inputs[0], back.node.attributes
    approximate = attributes.get("approximate", b"none") == b"tanh"
    share, density = (_tanh_share if approximate else _normal_share)(graph, x)
    slope = graph.op("Add", graph.op("Mul", density, x), share)
    return [graph.op("Mul", slope, back.gradient)]


def _normal_share(graph: GraphBuilder, x: str) -> tuple[str, str]:
    """The normal distribution at ``x``, and its density."""
    erf = graph.op("Erf", graph.op("Mul", x, graph.constant(math.sqrt(0.5))))
    half = graph.constant(0.5)
    share = graph.op("Add", graph.op("Mul", erf, half), half)
    return share, _bell(graph, x, -0.5, 1 / math.sqrt(2 * math.pi))


def _tanh_share(graph: GraphBuilder, x: str) -> tuple[str, str]:
    """``(1 + tanh(a (x + b x^3))) / 2`` and its slope."""
    a, b = math.sqrt(2 / math.pi), 0.044715
    one, half = graph.constant(1), graph.constant(0.5)
    square = graph.op("Mul", x, x)
    inner = graph.op("Mul", graph.op("Add", graph.op("Mul", square, graph.constant(a * b)), graph.constant(a)), x)
    inner_slope = graph.op("Add", graph.op("Mul", square, graph.constant(1.5 * a * b)), graph.constant(0.5 * a))
    tanh = graph.op("Tanh", inner)
    slope = graph.op("Mul", graph.op("Sub", one, graph.op("Mul", tanh, tanh)), inner_slope)
    return graph.op("Add", graph.op("Mul", tanh, half), half), slope


@rule("Softplus", spreads=True, saves=saves_first_input)
def softplus(graph: GraphBuilder, back: BackwardNode) -> Sequence[Gradient]:
    return [graph.op("Mul", graph.op("Sigmoid", back.node.inputs[0]), back.gradient)]


@rule("Mish", spreads=True, saves=saves_first_input)
def mish(graph: GraphBuilder, back: BackwardNode) -> Sequence[Gradient]:
    """``t + x s (1 - t^2)`` with ``t = tanh(softplus(x))`` and ``s = sigmoid(x)``."""
    x = back.node.inputs[0]
    tanh = graph.op("Tanh", graph.op("Softplus", x))
    weighted = graph.op("Mul", graph.op("Sigmoid", x), x)
    rest = graph.op("Sub", graph.constant(1), graph.op("Mul", tanh, tanh))
    slope = graph.op("Add", graph.op("Mul", rest, weighted), tanh)
    return [graph.op("Mul", slope, back.gradient)]


@rule("Elu", spreads=True, saves=saves_output)
def elu(graph: GraphBuilder, back: BackwardNode) -> Sequence[Gradient]:
    """1 above 0, ``y + alpha`` below."""
    result = back.node.outputs[0]
    below = graph.op("Min", result, graph.constant(0))
    curved = graph.op("Add", below, graph.constant(back.node.attributes.get("alpha", 1.0)))
    negative = graph.mask(graph.op("Less", result, graph.constant(0)))
    positive = graph.op("Sub", graph.constant(1), negative)
    slope = graph.op("Add", graph.op("Mul", curved, negative), positive)
    return [graph.op("Mul", slope, back.gradient)]


@rule("PRelu", saves=saves_first_input)
def prelu(graph: GraphBuilder, back: BackwardNode) -> Sequence[Gradient]:
    """1 above 0, the slope below; for the slope, the input below 0."""
    node, (x, slope) = back.node, back.node.inputs
    shape, gradients = graph.shape(node.outputs[0]), list[Gradient]([None, None])
    negative = graph.mask(graph.op("LessOrEqual", x, graph.constant(0)))
    if back.wanted[1]:
        below = graph.op("Mul", graph.op("Mul", negative, x), back.gradient)
        gradients[1] = graph.reduce_to(below, shape, graph.shape(slope))
    if back.wanted[0]:
        change = graph.op("Mul", graph.op("Sub", slope, graph.constant(1)), negative)
        gradients[0] = graph.op("Mul", graph.op("Add", change, graph.constant(1)), back.gradient)
    return gradients
