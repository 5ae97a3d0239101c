"""Which input pixel an output pixel reads through each position of a kernel.

A pixel is counted row by row. -1 stands for a pixel outside the image, which is zero.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lightcl_host.autodiff.convolution.window import Pair, Window

Pixels = NDArray[np.int64]
OUTSIDE = -1


def _offsets(window: Window) -> list[Pair]:
    """Offsets of the kernel's positions in the padded image, row by row."""
    rows, columns = window.kernel
    return [(i * window.dilations[0], j * window.dilations[1]) for i in range(rows) for j in range(columns)]


def _grid(sides: Pair) -> tuple[Pixels, Pixels]:
    rows, columns = np.indices(sides, dtype=np.int64)
    return rows.reshape(-1), columns.reshape(-1)


def _flat(rows: Pixels, columns: Pixels, sides: Pair) -> Pixels:
    inside = (rows >= 0) & (rows < sides[0]) & (columns >= 0) & (columns < sides[1])
    return np.where(inside, rows * sides[1] + columns, OUTSIDE)


def read_by(window: Window) -> list[Pixels]:
    """For each kernel position, the input pixel of each output pixel, shape ``(out rows * out columns,)``."""
    rows, columns = _grid(window.out)
    top, left = window.before
    return [
        _flat(rows * window.strides[0] + i - top, columns * window.strides[1] + j - left, window.image)
        for i, j in _offsets(window)
    ]


@dataclass(frozen=True)
class Reached:
    """Input pixels that the same kernel positions reach: those with equal remainders by the strides."""

    pixels: Pixels  # of the input
    positions: dict[int, Pixels]  # kernel position -> the output pixel that reads each of these pixels through it


def reached_from(window: Window) -> list[Reached]:
    """Which output pixels read each input pixel, and through which kernel position.

    Every input pixel is in one group. Positions that reach none of a group's pixels are left out.
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
            positions = {}
            for position, (i, j) in enumerate(_offsets(window)):
                if (row - i) % first or (column - j) % second:
                    continue
                out = _flat((rows[chosen] - i) // first, (columns[chosen] - j) // second, window.out)
                if (out != OUTSIDE).any():
                    positions[position] = out
            groups.append(Reached(chosen, positions))
    return groups
