"""Which input pixel an output pixel reads through each tap of a kernel.

A pixel is counted row by row. Position -1 stands for a pixel outside the image, which is zero.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lightcl_host.autodiff.convolution.window import Pair, Window

Positions = NDArray[np.int64]
OUTSIDE = -1


def _taps(window: Window) -> list[Pair]:
    """Offsets of the taps in the padded image, row by row."""
    rows, columns = window.kernel
    return [(i * window.dilations[0], j * window.dilations[1]) for i in range(rows) for j in range(columns)]


def _grid(sides: Pair) -> tuple[Positions, Positions]:
    rows, columns = np.indices(sides, dtype=np.int64)
    return rows.reshape(-1), columns.reshape(-1)


def _flat(rows: Positions, columns: Positions, sides: Pair) -> Positions:
    inside = (rows >= 0) & (rows < sides[0]) & (columns >= 0) & (columns < sides[1])
    return np.where(inside, rows * sides[1] + columns, OUTSIDE)


def read_by(window: Window) -> list[Positions]:
    """For each tap, the input pixel that each output pixel reads: arrays of shape ``(out rows * out columns,)``."""
    rows, columns = _grid(window.out)
    top, left = window.before
    return [
        _flat(rows * window.strides[0] + i - top, columns * window.strides[1] + j - left, window.image)
        for i, j in _taps(window)
    ]


@dataclass(frozen=True)
class Reached:
    """Input pixels that the same taps reach: those with equal remainders by the strides."""

    pixels: Positions  # positions in the input
    taps: dict[int, Positions]  # tap -> for each of these pixels, the output pixel that reads it through this tap


def reached_from(window: Window) -> list[Reached]:
    """Which output pixels read each input pixel, and through which tap.

    Every input pixel is in one group. Taps that reach none of a group's pixels are left out.
    """
    rows, columns = _grid(window.image)
    rows, columns = rows + window.before[0], columns + window.before[1]
    first, second = window.strides
    groups = []
    for row in range(first):
        for column in range(second):
            chosen = np.flatnonzero((rows % first == row) & (columns % second == column))
            if not len(chosen):
                continue
            taps = {}
            for tap, (i, j) in enumerate(_taps(window)):
                if (row - i) % first or (column - j) % second:
                    continue
                out = _flat((rows[chosen] - i) // first, (columns[chosen] - j) // second, window.out)
                if (out != OUTSIDE).any():
                    taps[tap] = out
            groups.append(Reached(chosen, taps))
    return groups
