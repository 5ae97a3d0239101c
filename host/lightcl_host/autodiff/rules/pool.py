"""The gradient of average pooling by windows."""

from collections.abc import Sequence

import numpy as np

from lightcl_host.autodiff.builder import GraphBuilder, Shape
from lightcl_host.autodiff.convolution.window import Window, window_of
from lightcl_host.autodiff.gradients import Gradient
from lightcl_host.autodiff.rules.registry import BackwardNode, rule


def _window_counts(
    window: Window, *, pads_count: bool, declared: Sequence[int]
) -> np.ndarray[Shape, np.dtype[np.float32]]:
    """Over how many values each window averages, shape ``(1, 1, *out)``.

    Positions beyond the declared pads, which only ceil mode reaches, never count.
    """
    sides = []
    for axis in (0, 1):
        starts = np.arange(window.out[axis])[:, None] * window.strides[axis]
        positions = starts + np.arange(window.kernel[axis])[None, :] * window.dilations[axis]
        low = 0 if pads_count else window.before[axis]
        high = window.before[axis] + window.image[axis] + (declared[2 + axis] if pads_count else 0)
        sides.append(((positions >= low) & (positions < high)).sum(axis=1))
    counts: np.ndarray[Shape, np.dtype[np.float32]] = np.outer(*sides).astype(np.float32)
    return counts.reshape(1, 1, *window.out)


@rule("AveragePool")
def average_pool(graph: GraphBuilder, back: BackwardNode) -> Sequence[Gradient]:
    """Each window's gradient, divided by its count, added to the pixels it covers.

    That is a transposed convolution by a kernel of ones, the channels standing in the batch axis.
    """
    node = back.node
    window = window_of(graph, node, tuple(node.ints("kernel_shape", [])))
    pads_count = bool(node.attributes.get("count_include_pad", 0))
    automatic = node.attributes.get("auto_pad", b"NOTSET") != b"NOTSET"
    declared = window.pads if automatic else node.ints("pads", [0] * 4)
    counts = _window_counts(window, pads_count=pads_count, declared=declared)
    shares = graph.op("Mul", back.gradient, graph.constant(1 / counts))
    maps = window.samples * window.channels
    spread = graph.op(
        "ConvTranspose",
        graph.reshape(shares, [maps, 1, *window.out]),
        graph.constant(np.ones((1, 1, *window.kernel))),
        strides=list(window.strides),
        dilations=list(window.dilations),
        pads=window.pads,
        output_padding=list(window.remainder),
    )
    return [graph.reshape(spread, [window.samples, window.channels, *window.image])]
