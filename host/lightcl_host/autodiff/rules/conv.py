"""The gradient of Conv: dense, grouped and depthwise, with any stride, dilation and padding.

Dense convolutions and depthwise ones of small images bring gradients of their own
(:mod:`lightcl_host.autodiff.convolution`). The others are differentiated here, as convolutions.
"""

import math
from collections.abc import Sequence

from lightcl_host.autodiff.builder import GraphBuilder
from lightcl_host.autodiff.convolution.input_gradient import input_gradient
from lightcl_host.autodiff.convolution.window import Window, window_of
from lightcl_host.autodiff.gradients import Gradient
from lightcl_host.autodiff.rules.registry import BackwardNode, rule, saves_inputs

#: Largest copy made to rearrange groups.
CHUNK_BYTES = 2 * 2**20
_FLOAT_BYTES = 4


def kernel_gradient(
    graph: GraphBuilder, image: str, gradient: str, window: Window, shape: Sequence[int], groups: int
) -> str:
    """``dW``, for a bounded number of groups at a time, because each is copied to be rearranged."""
    filters, per_group = shape[0] // groups, shape[1]
    pixels = per_group * math.prod(window.image) + filters * math.prod(window.out)
    size = max(1, CHUNK_BYTES // (_FLOAT_BYTES * window.samples * pixels))
    size = -(-groups // -(-groups // size))
    parts = []
    for first in range(0, groups, size):
        last = min(first + size, groups)
        some_image, some_gradient = image, gradient
        if last - first < groups:
            some_image = graph.slice(image, [first * per_group], [last * per_group], [1])
            some_gradient = graph.slice(gradient, [first * filters], [last * filters], [1])
        part = [(last - first) * filters, *shape[1:]]
        parts.append(_of_groups(graph, some_image, some_gradient, window, part, last - first))
    return graph.joined(parts, 0)


def _of_groups(
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
def conv(graph: GraphBuilder, back: BackwardNode) -> Sequence[Gradient]:
    """Gradients of image, kernel and bias."""
    node, gradient = back.node, back.gradient
    if node.outputs[0] in graph.convolutions:
        return graph.convolutions[node.outputs[0]].gradients(gradient, back.wanted)
    image, kernel = node.inputs[:2]
    shape, groups = graph.shape(kernel), int(node.attributes.get("group", 1))
    window = window_of(graph, node, shape[2:])
    gradients = list[Gradient]([None] * len(back.wanted))
    if back.wanted[0]:
        gradients[0] = input_gradient(graph, gradient, kernel, window, shape, groups)
    if back.wanted[1]:
        gradients[1] = graph.adder(kernel_gradient(graph, image, gradient, window, shape, groups))
    if any(back.wanted[2:]):
        gradients[2] = graph.sum(gradient, [0, 2, 3])
    return gradients
