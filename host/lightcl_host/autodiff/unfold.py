"""Unfolding images into columns (im2col) with standard operators, in chunks of bounded size."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from lightcl_host.autodiff.builder import GraphBuilder
from lightcl_host.autodiff.conv_geometry import Window

#: Largest unfolded chunk. Smaller ones save memory, but each passes over the whole kernel's gradient once.
CHUNK_BYTES = 2 * 2**20
FLOAT_BYTES = 4


@dataclass(frozen=True)
class Chunk:
    """A block of output pixels: samples ``first..last`` and output rows ``top..bottom`` of each."""

    first: int
    last: int
    top: int
    bottom: int

    @property
    def samples(self) -> int:
        """How many samples."""
        return self.last - self.first

    @property
    def rows(self) -> int:
        """How many output rows of each."""
        return self.bottom - self.top


def chunks_of(window: Window, filters: int) -> Iterator[Chunk]:
    """Divide the output into chunks whose copies stay below ``CHUNK_BYTES``.

    Args:
        window: the geometry.
        filters: channels of the output.

    Yields:
        Chunk: all of nearly equal size; several samples, or rows of one sample where one is too large.
    """
    rows, columns = window.out
    row_bytes = FLOAT_BYTES * columns * (window.channels * window.taps + filters)
    fitting_rows = max(1, CHUNK_BYTES // row_bytes)
    if fitting_rows >= rows:
        pieces = -(-window.samples // min(fitting_rows // rows, window.samples))
        size = -(-window.samples // pieces)
        for first in range(0, window.samples, size):
            yield Chunk(first, min(first + size, window.samples), 0, rows)
        return
    size = -(-rows // -(-rows // fitting_rows))
    for sample in range(window.samples):
        for top in range(0, rows, size):
            yield Chunk(sample, sample + 1, top, min(top + size, rows))


def output_matrix(graph: GraphBuilder, gradient: str, window: Window, filters: int, chunk: Chunk) -> str:
    """The output's gradient of a chunk as a matrix ``(filters, samples * rows * columns)``."""
    part = _samples(graph, gradient, window, chunk)
    if chunk.rows < window.out[0]:
        part = graph.slice(part, [chunk.top], [chunk.bottom], [2])
    if chunk.samples > 1:
        part = graph.transpose(part, [1, 0, 2, 3])
    return graph.reshape(part, [filters, chunk.samples * chunk.rows * window.out[1]])


def _samples(graph: GraphBuilder, tensor: str, window: Window, chunk: Chunk) -> str:
    if chunk.samples == window.samples:
        return tensor
    return graph.slice(tensor, [chunk.first], [chunk.last], [0])


def unfolded(graph: GraphBuilder, image: str, window: Window, chunk: Chunk) -> str:
    """The input of a chunk as a matrix ``(channels * taps, samples * rows * columns)``.

    One Gather makes it: with a Slice per tap and a Concat it would exist twice.
    """
    positions = chunk.samples * chunk.rows * window.out[1]
    part = _samples(graph, image, window, chunk)
    if chunk.samples > 1:
        part = graph.transpose(part, [1, 0, 2, 3])
    else:
        part = graph.reshape(part, [window.channels, 1, *window.image])
    if any(window.pads):
        part = graph.op("Pad", part, graph.ints([0, 0, *window.before, 0, 0, *window.after]))
    height, width = window.padded
    if chunk.rows < window.out[0]:
        top = chunk.top * window.strides[0]
        height = (chunk.rows - 1) * window.strides[0] + window.extent[0] + 1
        part = graph.slice(part, [top], [top + height], [2])
    if window.taps == 1 and window.strides == (1, 1) and (height, width) == (chunk.rows, window.out[1]):
        return graph.reshape(part, [window.channels, positions])
    flat = graph.reshape(part, [window.channels, chunk.samples * height * width])
    indices = graph.constant(_gather_indices(window, chunk, height, width), np.int32)
    return graph.reshape(graph.op("Gather", flat, indices, axis=1), [window.channels * window.taps, positions])


def _gather_indices(
    window: Window, chunk: Chunk, height: int, width: int
) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """For each tap, sample and output pixel, where its input pixel lies in the flattened padded chunk."""
    sides = (*window.kernel, chunk.samples, chunk.rows, window.out[1])
    tap_row, tap_column, sample, row, column = np.indices(sides, dtype=np.int64)
    y = row * window.strides[0] + tap_row * window.dilations[0]
    x = column * window.strides[1] + tap_column * window.dilations[1]
    flat: np.ndarray[tuple[int], np.dtype[np.int64]] = ((sample * height + y) * width + x).reshape(-1)
    return flat
