"""The gradient of a grouped convolution with respect to its input image."""

from collections.abc import Sequence

from lightcl_host.autodiff.builder import GraphBuilder
from lightcl_host.autodiff.convolution.window import Window


def input_gradient(
    graph: GraphBuilder, gradient: str, kernel: str, window: Window, shape: Sequence[int], groups: int
) -> str:
    """Emit ``dX``, shape ``(samples, channels, *image)``, in the way that is fastest for the geometry.

    ``gradient`` has the shape ``(samples, filters, *out)``, the kernel has ``shape``, which is ``(filters,
    channels / groups, rows, columns)``.
    """
    filters, per_group = shape[:2]
    pads = [side - pad for pad, side in zip(window.pads, (*window.extent, *window.extent), strict=True)]
    if filters == groups and per_group == 1 and window.strides == (1, 1) and min(pads) >= 0:
        flipped = kernel
        if window.positions > 1:
            flipped = graph.slice(kernel, [-1, -1], [-(2**31)] * 2, [2, 3], [-1, -1])
        return graph.op("Conv", gradient, flipped, group=groups, dilations=list(window.dilations), pads=pads)
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
