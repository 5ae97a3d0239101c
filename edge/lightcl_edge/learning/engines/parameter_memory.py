"""How the ``ort`` engine holds parameters: kernels that its graphs read by position lie positions first.

A dense convolution is trained as one matrix product for each position of its kernel
(``lightcl_host.autodiff.convolution.rows``). So its graph has an input for each position, a matrix ``(filters,
channels)`` that must lie in one piece.
"""

from __future__ import annotations

import math
import mmap
from collections.abc import Collection, Mapping, Sequence

import numpy as np

from lightcl_edge.bundle.graph_names import position_names
from lightcl_edge.files.tensors import FloatArray

_CACHE_LINE_FLOATS = 16


def mapped_zeros(shapes: Sequence[Sequence[int]]) -> list[FloatArray]:
    """Arrays of zeros in one mapping of their own, which takes no memory until it is written.

    The C library would put large arrays into holes of its heap and clear them there. How much memory they take before
    they are loaded would then depend on what ran before. Each array begins at a multiple of a cache line.
    """
    sizes = [-(-math.prod(shape) // _CACHE_LINE_FLOATS) * _CACHE_LINE_FLOATS for shape in shapes]
    private = {"flags": mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS} if hasattr(mmap, "MAP_PRIVATE") else {}
    mapping = mmap.mmap(-1, 4 * max(1, sum(sizes)), **private)
    whole = np.frombuffer(mapping, np.float32)
    starts = [sum(sizes[:number]) for number in range(len(sizes))]
    return [whole[at : at + math.prod(shape)].reshape(shape) for at, shape in zip(starts, shapes, strict=True)]


def _laid_out(shape: Sequence[int], positions_first: bool) -> Sequence[int]:
    """The shape in memory of a parameter."""
    if not positions_first:
        return shape
    filters, channels, rows, columns = shape
    return rows * columns, filters, channels


class ParameterMemory:
    """Arrays of the parameters' shapes, zero at first, whose pieces graphs read and write.

    Kernels in ``positions_first`` have the shape ``(filters, channels, rows, columns)``. They lie as ``(rows * columns,
    filters, channels)``.
    """

    def __init__(self, shapes: Mapping[str, Sequence[int]], positions_first: Collection[str]) -> None:
        self._held: dict[str, FloatArray] = {}
        self.views: dict[str, FloatArray] = {}
        self.pieces: dict[str, FloatArray] = {}
        laid = [_laid_out(shape, name in positions_first) for name, shape in shapes.items()]
        for (name, shape), held in zip(shapes.items(), mapped_zeros(laid), strict=True):
            self._held[name] = held
            if name not in positions_first:
                self.views[name] = self.pieces[name] = held
                continue
            filters, channels, rows, columns = shape
            self.views[name] = held.reshape(rows, columns, filters, channels).transpose(2, 3, 0, 1)
            self.pieces |= zip(position_names(name, len(held)), held, strict=True)

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays."""
        return sum(array.nbytes for array in self._held.values())

    def add(self, other: ParameterMemory, factor: float) -> None:
        """Add ``factor * other``, and set ``other``, which has the same layout, to zero; nothing is copied."""
        for name, array in other._held.items():
            np.multiply(array, np.float32(factor), out=array)
            self._held[name] += array
            array.fill(0)
