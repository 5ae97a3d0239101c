"""The gradient of MaxPool with inference operators alone."""

from collections.abc import Sequence

import numpy as np

from lightcl_edge.errors import BundleError
from lightcl_host.autodiff.builder import ForwardNode, GraphBuilder
from lightcl_host.autodiff.convolution.window import Window, window_of
from lightcl_host.autodiff.gradients import Gradient
from lightcl_host.autodiff.rules.registry import BackwardNode, rule


def _saves(node: ForwardNode, _wanted: Sequence[bool]) -> Sequence[str]:
    return [node.inputs[0], node.outputs[0]]


def _tap(graph: GraphBuilder, padded: str, window: Window, row: int, column: int) -> str:
    """The values that all windows see at one position, shape ``(samples, channels, *out)``."""
    starts = [row * window.dilations[0], column * window.dilations[1]]
    ends = [starts[i] + window.strides[i] * (window.out[i] - 1) + 1 for i in (0, 1)]
    return graph.slice(padded, starts, ends, [2, 3], window.strides)


@rule("MaxPool", saves=_saves)
def max_pool(graph: GraphBuilder, back: BackwardNode) -> Sequence[Gradient]:
    """The gradient of a window goes to the first of its positions, row by row, that equals the maximum.

    Ties are common (zeros after a Relu) and that is where PyTorch sends them.
    """
    node = back.node
    if len(back.upstream) > 1 and back.upstream[1] is not None:
        raise BundleError(f"head.onnx: {node.describe()} is used for its indices, expected its values alone")
    window = window_of(graph, node, tuple(node.ints("kernel_shape", [])))
    padded = node.inputs[0]
    if any(window.pads):
        pads = graph.ints([0, 0, *window.before, 0, 0, *window.after])
        padded = graph.op("Pad", padded, pads, graph.constant(-np.inf))
    taken, parts = None, []
    for row, column in np.ndindex(*window.kernel):
        equal = graph.op("Equal", _tap(graph, padded, window, row, column), node.outputs[0])
        first = graph.op("And", equal, graph.op("Not", taken)) if taken else equal
        taken = graph.op("Or", taken, equal) if taken else equal
        part = graph.op("Mul", graph.mask(first), back.gradient)
        parts.append(graph.reshape(part, [window.samples, window.channels, 1, window.out[0] * window.out[1]]))
    flat = [window.samples, window.channels * window.positions, window.out[0] * window.out[1]]
    return [
        graph.op(
            "Col2Im",
            graph.reshape(graph.joined(parts, 2), flat),
            graph.ints(window.image),
            graph.ints(window.kernel),
            strides=list(window.strides),
            dilations=list(window.dilations),
            pads=window.pads,
        )
    ]
