"""Gradients of operators that repeat values or choose some of them by constant indices."""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lightcl_host.autodiff.builder import GraphBuilder
from lightcl_host.autodiff.gradients import Gradient
from lightcl_host.autodiff.rules.registry import BackwardNode, rule


@rule("Expand")
def expand(graph: GraphBuilder, back: BackwardNode) -> Sequence[Gradient]:
    """The sum over what was repeated."""
    node = back.node
    return [graph.reduce_to(back.gradient, graph.shape(node.outputs[0]), graph.shape(node.inputs[0]))]


@rule("Tile")
def tile(graph: GraphBuilder, back: BackwardNode) -> Sequence[Gradient]:
    """The sum over what was repeated."""
    source = graph.shape(back.node.inputs[0])
    repeats = graph.value(back.node.inputs[1], back.node).tolist()
    apart = [count for pair in zip(repeats, source, strict=True) for count in pair]
    summed = graph.sum(graph.reshape(back.gradient, apart), range(0, len(apart), 2))
    return [graph.reshape(summed, source)]


def _put_back(graph: GraphBuilder, rows: str, indices: NDArray[np.int64], side: int) -> str:
    """Sum up the rows of one index, shape ``(outer, len(indices), inner)`` to ``(outer, side, inner)``.

    In each round, each index takes at most one row; an index without a row takes the row of zeros at the end.
    """
    count = len(indices)
    if np.array_equal(indices, np.arange(indices[0], indices[0] + count)):
        pads = [0, int(indices[0]), 0, 0, side - count - int(indices[0]), 0]
        return graph.op("Pad", rows, graph.ints(pads)) if any(pads) else rows
    rounds: defaultdict[int, NDArray[np.int64]] = defaultdict(lambda: np.full(side, count, np.int64))
    used = np.zeros(side, np.int64)
    for position, index in enumerate(indices.tolist()):
        rounds[int(used[index])][index] = position
        used[index] += 1
    padded = graph.op("Pad", rows, graph.ints([0, 0, 0, 0, 1, 0])) if (used != used.max()).any() else rows
    total = ""
    for order in rounds.values():
        part = graph.op("Gather", padded, graph.constant(order, np.int64), axis=1)
        total = graph.op("Add", total, part) if total else part
    return total


@rule("Gather")
def gather(graph: GraphBuilder, back: BackwardNode) -> Sequence[Gradient]:
    """Each index gets the sum of what was taken from it."""
    node, source = back.node, graph.shape(back.node.inputs[0])
    axis = int(node.attributes.get("axis", 0)) % len(source)
    side, inner = source[axis], int(np.prod(source[axis + 1 :]))
    indices = graph.value(node.inputs[1], node).astype(np.int64).reshape(-1) % side
    rows = graph.reshape(back.gradient, [-1, len(indices), inner])
    return [graph.reshape(_put_back(graph, rows, indices, side), source)]


@rule("DepthToSpace", "SpaceToDepth")
def exchange_depth(graph: GraphBuilder, back: BackwardNode) -> Sequence[Gradient]:
    """The other one, for blocks of channels that stand apart; for columns first, as reshapes and a transposition."""
    node, block = back.node, int(back.node.attributes["blocksize"])
    if node.kind == "SpaceToDepth":
        return [graph.op("DepthToSpace", back.gradient, blocksize=block)]
    if node.attributes.get("mode", b"DCR") == b"DCR":
        return [graph.op("SpaceToDepth", back.gradient, blocksize=block)]
    samples, channels, height, width = graph.shape(node.inputs[0])
    apart = graph.reshape(back.gradient, [samples, channels // block**2, height, block, width, block])
    return [graph.reshape(graph.transpose(apart, [0, 1, 3, 5, 2, 4]), graph.shape(node.inputs[0]))]
