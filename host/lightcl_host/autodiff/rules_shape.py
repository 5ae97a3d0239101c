"""Gradients of operators that only arrange values anew."""

from __future__ import annotations

from collections.abc import Sequence

from lightcl_host.autodiff.builder import ForwardNode, GraphBuilder
from lightcl_host.autodiff.registry import Gradient, rule, upstream_of


@rule("Reshape", "Flatten", "Squeeze", "Unsqueeze")
def reshape(
    graph: GraphBuilder, node: ForwardNode, upstream: Sequence[str | None], wanted: Sequence[bool]
) -> list[Gradient]:
    """The gradient in the input's shape."""
    back = graph.reshape(upstream_of(upstream), graph.shape(node.inputs[0]))
    return [back, *[None] * (len(wanted) - 1)]


@rule("Transpose")
def transpose(
    graph: GraphBuilder, node: ForwardNode, upstream: Sequence[str | None], wanted: Sequence[bool]
) -> list[Gradient]:
    """The inverse permutation."""
    del wanted
    rank = len(graph.shape(node.inputs[0]))
    order = node.ints("perm", range(rank)[::-1])
    return [graph.transpose(upstream_of(upstream), [order.index(axis) for axis in range(rank)])]
