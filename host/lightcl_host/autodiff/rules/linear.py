"""Gradients of Gemm and MatMul; a parameter's gradient is added by the Gemm that makes it."""

import math
from collections.abc import Sequence
from typing import Any

from lightcl_edge.errors import BundleError
from lightcl_host.autodiff.builder import GraphBuilder, Shape
from lightcl_host.autodiff.gradients import Gradient, ParameterGradient
from lightcl_host.autodiff.rules.registry import BackwardNode, rule, saves_inputs


def _gemm_adder(
    graph: GraphBuilder, first: str, second: str, sizes: tuple[int, int], **attributes: Any
) -> ParameterGradient:
    """The adder ``base + scale * alpha * first' @ second'``; of the two, the one of the smaller size is scaled."""

    def add(base: str | None, scale: str | None) -> str:
        left, right = first, second
        if sizes[0] <= sizes[1]:
            left = graph.scaled(first, scale)
        else:
            right = graph.scaled(second, scale)
        return graph.op("Gemm", left, right, *filter(None, [base]), **attributes)

    return add


@rule("Gemm", saves=saves_inputs)
def gemm(graph: GraphBuilder, back: BackwardNode) -> Sequence[Gradient]:
    """``y = alpha A' B' + beta C``, where the dash is an optional transposition."""
    node, gradient, (a, b) = back.node, back.gradient, back.node.inputs[:2]
    alpha = float(node.attributes.get("alpha", 1.0))
    trans_a, trans_b = int(node.attributes.get("transA", 0)), int(node.attributes.get("transB", 0))
    gradients = list[Gradient]([None] * len(back.wanted))
    if back.wanted[0]:
        pair = (b, gradient) if trans_a else (gradient, b)
        flags = (trans_b, 1) if trans_a else (0, 1 - trans_b)
        gradients[0] = graph.op("Gemm", *pair, transA=flags[0], transB=flags[1], alpha=alpha)
    if back.wanted[1]:
        sizes = (math.prod(graph.shape(a)), math.prod(graph.shape(node.outputs[0])))
        if trans_b:
            gradients[1] = _gemm_adder(graph, gradient, a, sizes[::-1], transA=1, transB=trans_a, alpha=alpha)
        else:
            gradients[1] = _gemm_adder(graph, a, gradient, sizes, transA=1 - trans_a, transB=0, alpha=alpha)
    if any(back.wanted[2:]):
        shape, target = graph.shape(node.outputs[0]), graph.shape(node.inputs[2])
        bias = graph.reduce_to(gradient, shape, target)
        beta = float(node.attributes.get("beta", 1.0))
        gradients[2] = bias if beta == 1 else graph.op("Mul", bias, graph.constant(beta))
    return gradients


def _swap_last(graph: GraphBuilder, tensor: str, rank: int) -> str:
    return graph.transpose(tensor, [*range(rank - 2), rank - 1, rank - 2])


def _transposed_product(graph: GraphBuilder, a: str, b: str, shape_a: Shape, shape_b: Shape) -> str:
    """``a' b`` over the last two axes; what is transposed is copied, so it is the smaller of ``a`` and ``b``.

    Where ``a`` is large, as attention is, ``(b' a)'`` copies ``b`` and the result instead.
    """
    side = shape_a[-2]
    if shape_a[-1] * side <= shape_b[-1] * (side + shape_a[-1]):
        return graph.op("MatMul", _swap_last(graph, a, len(shape_a)), b)
    product = graph.op("MatMul", _swap_last(graph, b, len(shape_b)), a)
    return _swap_last(graph, product, max(len(shape_a), len(shape_b)))


@rule("MatMul", saves=saves_inputs)
def matmul(graph: GraphBuilder, back: BackwardNode) -> Sequence[Gradient]:
    """``dA = dY B^T`` and ``dB = A^T dY`` over the last two axes, broadcast undone over the others."""
    node, gradient, (a, b) = back.node, back.gradient, back.node.inputs
    shape_a, shape_b, shape = graph.shape(a), graph.shape(b), graph.shape(node.outputs[0])
    if min(len(shape_a), len(shape_b)) < 2:
        raise BundleError(f"head.onnx: {node.describe()} multiplies a vector, expected two or more axes to train it")
    if len(shape_b) == 2:
        return _by_matrix(graph, back)
    gradients = list[Gradient]([None, None])
    if back.wanted[0]:
        product = graph.op("MatMul", gradient, _swap_last(graph, b, len(shape_b)))
        batch = (*shape[:-2], shape_a[-2], shape_a[-1])
        gradients[0] = graph.reduce_to(product, batch, shape_a)
    if back.wanted[1]:
        product = _transposed_product(graph, a, gradient, shape_a, shape)
        batch = (*shape[:-2], shape_b[-2], shape_b[-1])
        gradients[1] = graph.reduce_to(product, batch, shape_b)
    return gradients


def _by_matrix(graph: GraphBuilder, back: BackwardNode) -> Sequence[Gradient]:
    """The same for a matrix ``B``, as two products of matrices."""
    a, b = back.node.inputs
    shape_a, (width, out), gradients = graph.shape(a), graph.shape(b), list[Gradient]([None, None])
    rows = graph.reshape(back.gradient, [-1, out])
    if back.wanted[0]:
        gradients[0] = graph.reshape(graph.op("Gemm", rows, b, transB=1), shape_a)
    if back.wanted[1]:
        gradients[1] = _gemm_adder(graph, graph.reshape(a, [-1, width]), rows, (width, out), transA=1)
    return gradients
