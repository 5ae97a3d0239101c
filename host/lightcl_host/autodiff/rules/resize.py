"""The gradient of Resize by any of its interpolations."""

from collections.abc import Sequence

import numpy as np

from lightcl_edge.learning.engines.resize_weights import axis_weights
from lightcl_host.autodiff.builder import ForwardNode, GraphBuilder
from lightcl_host.autodiff.gradients import Gradient
from lightcl_host.autodiff.rules.registry import BackwardNode, rule


def _scales(graph: GraphBuilder, node: ForwardNode, axes: Sequence[int]) -> list[float | None]:
    """The scale of each resized axis; None where the node states the sides instead."""
    if len(node.inputs) > 2 and node.inputs[2] and (values := graph.value(node.inputs[2], node)).size:
        return [float(value) for value in values]
    return [None] * len(axes)


@rule("Resize")
def resize(graph: GraphBuilder, back: BackwardNode) -> Sequence[Gradient]:
    """Each output is a weighted sum along each axis: its gradient goes back by the same weights."""
    node, source, out = back.node, graph.shape(back.node.inputs[0]), graph.shape(back.node.outputs[0])
    axes = [axis % len(source) for axis in node.ints("axes", range(len(source)))]
    gradient, shape = back.gradient, list(out)
    for axis, scale in zip(axes, _scales(graph, node, axes), strict=True):
        if (scale or out[axis] / source[axis]) == 1:
            continue
        weights = axis_weights(node.attributes, source[axis], out[axis], scale)
        before, after = int(np.prod(shape[:axis])), int(np.prod(shape[axis + 1 :]))
        if after == 1:  # one product instead of one for each row
            flat = graph.reshape(gradient, [before, out[axis]])
            gradient = graph.op("Gemm", flat, graph.constant(weights), transB=1)
        else:
            flat = graph.reshape(gradient, [before, out[axis], after])
            gradient = graph.op("MatMul", graph.constant(weights), flat)
        shape[axis] = source[axis]
    return [graph.reshape(gradient, source)]
