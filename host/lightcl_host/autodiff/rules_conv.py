"""The gradient of Conv: dense, grouped and depthwise, with any stride, dilation and padding.

Dense convolutions are :mod:`lightcl_host.autodiff.row_conv`'s; the others are differentiated as convolutions.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from lightcl_host.autodiff.builder import ForwardNode, GraphBuilder
from lightcl_host.autodiff.conv_geometry import Window, window_of
from lightcl_host.autodiff.conv_input import input_gradient
from lightcl_host.autodiff.registry import Gradient, rule, saves_inputs, upstream_of
from lightcl_host.autodiff.rules_linear import plain

#: Largest copy made to rearrange groups.
CHUNK_BYTES = 2 * 2**20
FLOAT_BYTES = 4


def grouped_kernel_gradient(
    graph: GraphBuilder, image: str, gradient: str, window: Window, shape: Sequence[int], groups: int
) -> str:
    """``dW`` of a grouped convolution, for a bounded number of groups at a time: each is copied to be rearranged."""
    filters, per_group = shape[0] // groups, shape[1]
    pixels = per_group * math.prod(window.image) + filters * math.prod(window.out)
    size = max(1, CHUNK_BYTES // (FLOAT_BYTES * window.samples * pixels))
    size = -(-groups // -(-groups // size))
    parts = []
    for first in range(0, groups, size):
        last = min(first + size, groups)
        some_image, some_gradient = image, gradient
        if last - first < groups:
            some_image = graph.slice(image, [first * per_group], [last * per_group], [1])
            some_gradient = graph.slice(gradient, [first * filters], [last * filters], [1])
        part = [(last - first) * filters, *shape[1:]]
        parts.append(_kernel_gradient_of_groups(graph, some_image, some_gradient, window, part, last - first))
    return graph.op("Concat", *parts, axis=0) if len(parts) > 1 else parts[0]


def _kernel_gradient_of_groups(
    graph: GraphBuilder, image: str, gradient: str, window: Window, shape: Sequence[int], groups: int
) -> str:
    """``dW`` as a convolution of the input by the output's gradient, batch and channels exchanged.

    Stride and dilation change places with them; what the stride left over is cropped.
    """
    per_group, samples, (height, width) = shape[1], window.samples, window.image
    split = graph.reshape(image, [samples, groups, per_group, height * width])
    swapped = graph.reshape(graph.transpose(split, [2, 1, 0, 3]), [per_group, groups * samples, height, width])
    result = graph.op(
        "Conv",
        swapped,
        graph.transpose(gradient, [1, 0, 2, 3]),
        group=groups,
        strides=list(window.dilations),
        dilations=list(window.strides),
        pads=window.pads,
    )
    if any(left >= step for left, step in zip(window.remainder, window.dilations, strict=True)):
        result = graph.slice(result, [0, 0], window.kernel, [2, 3])
    return graph.reshape(result, shape) if per_group == 1 else graph.transpose(result, [1, 0, 2, 3])


@rule("Conv", saves=saves_inputs)
def conv(
    graph: GraphBuilder, node: ForwardNode, upstream: Sequence[str | None], wanted: Sequence[bool]
) -> list[Gradient]:
    """Gradients of image, kernel and bias."""
    gradient, (image, kernel) = upstream_of(upstream), node.inputs[:2]
    if node.outputs[0] in graph.row_convolutions:
        return graph.row_convolutions[node.outputs[0]].gradients(gradient, wanted)
    shape, groups = graph.shape(kernel), int(node.attributes.get("group", 1))
    window = window_of(graph, node, shape[2:])
    gradients = list[Gradient]([None] * len(wanted))
    if wanted[0]:
        gradients[0] = input_gradient(graph, gradient, kernel, window, shape, groups)
    if wanted[1]:
        gradients[1] = plain(graph, grouped_kernel_gradient(graph, image, gradient, window, shape, groups))
    if len(wanted) > 2 and wanted[2]:
        gradients[2] = graph.sum(gradient, [0, 2, 3])
    return gradients
