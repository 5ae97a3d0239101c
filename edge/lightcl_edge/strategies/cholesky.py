"""Solves a symmetric system in the memory of its matrix.

``numpy.linalg.solve`` copies a float32 matrix to float64 and once more for LAPACK: 26 MiB for the 1280 inputs of
EfficientNet's classifier, the largest single piece of a task's memory.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

DoubleArray = NDArray[np.float64]
_BLOCK = 128


def solve_in_place(matrix: DoubleArray, right: DoubleArray) -> DoubleArray:
    """Solve ``matrix @ x = right`` by a blocked Cholesky factorisation (Golub and Van Loan, 4.2.9).

    Args:
        matrix: symmetric, positive definite, shape ``(d, d)``; its lower half is overwritten with the factor.
        right: shape ``(d, k)``.

    Returns:
        ``x``, shape ``(d, k)``.
    """
    size, found = len(matrix), np.array(right, np.float64)
    blocks = [slice(at, min(at + _BLOCK, size)) for at in range(0, size, _BLOCK)]
    for block in blocks:
        matrix[block, block] = np.linalg.cholesky(matrix[block, block])
        below = matrix[block.stop :, block]
        below[:] = np.linalg.solve(matrix[block, block], below.T).T
        for later in (each for each in blocks if each.start >= block.stop):
            matrix[later.start :, later] -= below[later.start - block.stop :] @ matrix[later, block].T
    for block in blocks:  # forwards: factor y = right
        found[block] -= matrix[block, : block.start] @ found[: block.start]
        found[block] = np.linalg.solve(matrix[block, block], found[block])
    for block in reversed(blocks):  # backwards: factor transposed x = y
        found[block] -= matrix[block.stop :, block].T @ found[block.stop :]
        found[block] = np.linalg.solve(matrix[block, block].T, found[block])
    return found
