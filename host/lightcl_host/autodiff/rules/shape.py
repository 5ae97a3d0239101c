"""Gradients of operators that only arrange values anew."""

from collections.abc import Sequence

from lightcl_host.autodiff.builder import GraphBuilder
from lightcl_host.autodiff.gradients import Gradient
from lightcl_host.autodiff.rules.registry import BackwardNode, rule
from lightcl_host.graphs.operators import STEP_OPERATORS


@rule("Reshape", "Flatten", "Squeeze", "Unsqueeze")
def reshape(graph: GraphBuilder, back: BackwardNode) -> Sequence[Gradient]:
    """The gradient in the input's shape."""
    return [graph.reshape(back.gradient, graph.shape(back.node.inputs[0]))]


@rule("Transpose")
def transpose(graph: GraphBuilder, back: BackwardNode) -> Sequence[Gradient]:
    """The inverse permutation."""
    rank = len(graph.shape(back.node.inputs[0]))
    order = back.node.ints("perm", range(rank)[::-1])
    return [graph.transpose(back.gradient, [order.index(axis) for axis in range(rank)])]


@rule(*STEP_OPERATORS)
def steps(_graph: GraphBuilder, _back: BackwardNode) -> Sequence[Gradient]:
    """Nothing: what these give does not change with small changes of their inputs."""
    return []
