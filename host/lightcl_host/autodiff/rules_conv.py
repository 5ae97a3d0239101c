"""The gradient of Conv: dense, grouped and depthwise, with any stride, dilation and padding.

The gradient of a dense kernel is the product of the output's gradient with the unfolded input (im2col). The
unfolded input is ``taps`` times as large as the input, so it is made in chunks that each add to the result.
"""

from __future__ import annotations

from collections.abc import Sequence

from lightcl_host.autodiff.builder import ForwardNode, GraphBuilder
from lightcl_host.autodiff.conv_geometry import Window, window_of
from lightcl_host.autodiff.conv_input import input_gradient
from lightcl_host.autodiff.registry import Gradient, ParameterGradient, rule, saves_inputs, upstream_of
from lightcl_host.autodiff.rules_linear import plain, scaled
from lightcl_host.autodiff.unfold import chunks_of, output_matrix, unfolded


def dense_kernel_gradient(
    graph: GraphBuilder, image: str, gradient: str, window: Window, filters: int
) -> ParameterGradient:
    """The adder of ``dW = dY unfold(x)^T``, chunk by chunk onto the same buffer."""

    def add(base: str | None, scale: str | None) -> list[str]:
        columns = window.channels * window.taps
        total = graph.reshape(base, [filters, columns]) if base else None
        chain = []
        for chunk in chunks_of(window):
            first = scaled(graph, output_matrix(graph, gradient, window, filters, chunk), scale)
            second = unfolded(graph, image, window, chunk)
            total = graph.op("Gemm", first, second, *filter(None, [total]), transB=1)
            chain.append(total)
        return chain

    return add


def grouped_kernel_gradient(
    graph: GraphBuilder, image: str, gradient: str, window: Window, shape: Sequence[int], groups: int
) -> str:
    """``dW`` as a convolution of the input by the output's gradient, batch and channels exchanged.

    Stride and dilation change places with them; what the stride left over is cropped.
    """
    per_group = shape[1]
    samples, (height, width) = window.samples, window.image
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
    shape, groups = graph.shape(kernel), int(node.attributes.get("group", 1))
    window = window_of(graph, node, shape[2:])
    gradients = list[Gradient]([None] * len(wanted))
    if wanted[0]:
        gradients[0] = input_gradient(graph, gradient, kernel, window, shape, groups)
    if wanted[1] and groups == 1:
        gradients[1] = dense_kernel_gradient(graph, image, gradient, window, shape[0])
    elif wanted[1]:
        gradients[1] = plain(graph, grouped_kernel_gradient(graph, image, gradient, window, shape, groups))
    if len(wanted) > 2 and wanted[2]:
        gradients[2] = graph.sum(gradient, [0, 2, 3])
    return gradients
