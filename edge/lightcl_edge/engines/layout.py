"""How the ``ort`` engine holds parameters: kernels that its graphs read tap by tap stand taps first.

A dense convolution is trained as one matrix product a tap (``lightcl_host.autodiff.row_conv``), so its graph has an
input for each tap, a matrix ``(filters, channels)`` that must lie in one piece.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np

from lightcl_edge.engines.contract import FloatArray

_MARK = "@"
#: Kinds of graphs without a step: of whole parameters, and of parameters as the engine holds them.
FORWARD, EVALUATE = "forward", "evaluate"
#: Rows that the head takes at once outside of training; few, so that evaluation needs less memory than a step.
FORWARD_ROWS = 8


def tap_name(parameter: str, tap: int) -> str:
    """The graph input that is one tap of a kernel."""
    return f"{parameter}{_MARK}{tap}"


def parameter_of(piece: str) -> str:
    """The parameter that a piece belongs to."""
    return piece.rpartition(_MARK)[0] or piece


def held_taps_first(parameters: Collection[str], inputs: Collection[str]) -> set[str]:
    """The parameters of which a graph reads single taps.

    Args:
        parameters: names of the head's.
        inputs: names of a step graph's.

    Returns:
        Some of ``parameters``.
    """
    return {parameter_of(name) for name in inputs if _MARK in name} & set(parameters)


class ParameterMemory:
    """Arrays of the parameters' shapes, zero at first, whose pieces graphs read and write.

    Args:
        shapes: parameter -> shape; of kernels ``(filters, channels, rows, columns)``.
        taps_first: the kernels held as ``(rows * columns, filters, channels)``.
    """

    def __init__(self, shapes: Mapping[str, Sequence[int]], taps_first: Collection[str]) -> None:
        self._held: dict[str, FloatArray] = {}
        self.views: dict[str, FloatArray] = {}
        self.pieces: dict[str, FloatArray] = {}
        for name, shape in shapes.items():
            if name not in taps_first:
                self._held[name] = self.views[name] = self.pieces[name] = np.zeros(shape, np.float32)
                continue
            filters, channels, rows, columns = shape
            held = np.zeros((rows * columns, filters, channels), np.float32)
            self._held[name] = held
            self.views[name] = held.reshape(rows, columns, filters, channels).transpose(2, 3, 0, 1)
            self.pieces |= {tap_name(name, tap): held[tap] for tap in range(len(held))}

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
