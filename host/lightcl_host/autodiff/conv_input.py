"""The gradient of a convolution with respect to its input image."""

from __future__ import annotations

from collections.abc import Sequence

from lightcl_host.autodiff.builder import GraphBuilder
from lightcl_host.autodiff.conv_geometry import Window
from lightcl_host.autodiff.unfold import Chunk, chunks_of, output_matrix


def input_gradient(
    graph: GraphBuilder, gradient: str, kernel: str, window: Window, shape: Sequence[int], groups: int
) -> str:
    """Emit ``dX``, by whichever way is fastest for the geometry within bounded memory.

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
    if groups > 1 and filters == groups and per_group == 1 and _flips(window):
        return _by_flipped_kernel(graph, gradient, kernel, window, groups)
    if groups == 1 and window.is_pointwise:
        pixels = window.samples * window.out[0] * window.out[1]
        if filters * per_group > pixels * (filters + per_group):
            return _by_product(graph, gradient, kernel, window, shape)
        swapped = graph.transpose(kernel, [1, 0, 2, 3])
        return graph.op("Conv", gradient, swapped)
    if groups == 1 and window.dilations == (1, 1) and window.taps > 1:
        return _by_folding(graph, gradient, kernel, window, shape)
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


def _by_product(graph: GraphBuilder, gradient: str, kernel: str, window: Window, shape: Sequence[int]) -> str:
    """``W^T dY`` of a pointwise kernel: rearranges the activations, which here are smaller than the kernel."""
    filters, channels = shape[:2]
    part = output_matrix(graph, gradient, window, filters, Chunk(0, window.samples, 0, window.out[0]))
    product = graph.op("Gemm", graph.reshape(kernel, [filters, channels]), part, transA=1)
    if window.samples == 1:
        return graph.reshape(product, [1, channels, *window.image])
    return graph.transpose(graph.reshape(product, [channels, window.samples, *window.image]), [1, 0, 2, 3])


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


def _by_folding(graph: GraphBuilder, gradient: str, kernel: str, window: Window, shape: Sequence[int]) -> str:
    """``fold(W^T dY)``: one product and one Col2Im a chunk of samples; the kernel is not copied.

    Samples stand as the first of three image axes, so that one product serves a whole chunk. (With
    dilation that form of Col2Im is wrong in onnxruntime 1.32; callers keep to dilation 1.)
    """
    filters = shape[0]
    matrix = graph.reshape(kernel, [filters, window.channels * window.taps])
    parts = [_fold(graph, gradient, matrix, window, filters, chunk) for chunk in _sample_chunks(window, filters)]
    return graph.op("Concat", *parts, axis=0) if len(parts) > 1 else parts[0]


def _sample_chunks(window: Window, filters: int) -> list[Chunk]:
    """Chunks of whole samples: folding adds up overlapping rows, so a sample is not divided."""
    spans = sorted({(chunk.first, chunk.last) for chunk in chunks_of(window, filters)})
    return [Chunk(first, last, 0, window.out[0]) for first, last in spans]


def _fold(graph: GraphBuilder, gradient: str, matrix: str, window: Window, filters: int, chunk: Chunk) -> str:
    part = output_matrix(graph, gradient, window, filters, chunk)
    columns = graph.op("Gemm", matrix, part, transA=1)
    batch = chunk.samples
    flat = graph.reshape(columns, [1, window.channels * window.taps, batch * window.out[0] * window.out[1]])
    folded = graph.op(
        "Col2Im",
        flat,
        graph.ints([batch, *window.image]),
        graph.ints([1, *window.kernel]),
        strides=[1, *window.strides],
        pads=[0, *window.before, 0, *window.after],
    )
    if batch == 1:
        return graph.reshape(folded, [1, window.channels, *window.image])
    return graph.transpose(graph.reshape(folded, [window.channels, batch, *window.image]), [1, 0, 2, 3])
