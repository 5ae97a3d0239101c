"""The gradient of a grouped convolution with respect to its input image."""

from __future__ import annotations

from collections.abc import Sequence

from lightcl_host.autodiff.builder import GraphBuilder
from lightcl_host.autodiff.conv_geometry import Window


def input_gradient(
    graph: GraphBuilder, gradient: str, kernel: str, window: Window, shape: Sequence[int], groups: int
) -> str:
    """Emit ``dX``, by whichever way is fastest for the geometry.

    Args:
        graph: where to emit.
        gradient: of the output, shape ``(samples, filters, *out)``.
        kernel: the weights.
        window: the geometry.
        shape: of the kernel, ``(filters, channels / groups, rows, columns)``.
        groups: of the convolution.

    Returns:
        A tensor of shape ``(samples, channels, *image)``.
    """
    filters, per_group = shape[:2]
    if filters == groups and per_group == 1 and _flips(window):
        return _by_flipped_kernel(graph, gradient, kernel, window, groups)
    return graph.op(
        "ConvTranspose",
        gradient,
        kernel,
        group=groups,
        strides=list(window.strides),
        dilations=list(window.dilations),
        pads=window.pads,
        output_padding=list(window.remainder),
    )


def _flips(window: Window) -> bool:
    """True if convolving the gradient by the flipped kernel gives ``dX`` with pads that are not negative."""
    reach = (*window.extent, *window.extent)
    return window.strides == (1, 1) and all(pad <= side for pad, side in zip(window.pads, reach, strict=True))


def _by_flipped_kernel(graph: GraphBuilder, gradient: str, kernel: str, window: Window, groups: int) -> str:
    flipped = kernel
    if window.taps > 1:
        flipped = graph.slice(kernel, [-1, -1], [-(2**31)] * 2, [2, 3], [-1, -1])
    reach = (*window.extent, *window.extent)
    pads = [side - pad for pad, side in zip(window.pads, reach, strict=True)]
    return graph.op("Conv", gradient, flipped, group=groups, dilations=list(window.dilations), pads=pads)
