"""Symmetric positive definite systems, solved in blocks in the memory of their matrix (Golub and Van Loan, 4.2.9)."""

import numpy as np

from lightcl_edge.files.tensors import DoubleArray

_BLOCK = 128


def _blocks(size: int) -> list[slice]:
    return [slice(at, min(at + _BLOCK, size)) for at in range(0, size, _BLOCK)]


def factor_in_place(matrix: DoubleArray) -> None:
    """Overwrite the lower half of ``matrix`` ``(d, d)`` with its Cholesky factor; what is above the blocks stays.

    Raises ``numpy.linalg.LinAlgError`` when the matrix is not positive definite.
    """
    blocks = _blocks(len(matrix))
    for block in blocks:
        matrix[block, block] = np.linalg.cholesky(matrix[block, block])
        below = matrix[block.stop :, block]
        below[:] = np.linalg.solve(matrix[block, block], below.T).T
        for later in (each for each in blocks if each.start >= block.stop):
            matrix[later.start :, later] -= below[later.start - block.stop :] @ matrix[later, block].T


def solve(factor: DoubleArray, right: DoubleArray) -> DoubleArray:
    """Solve ``matrix @ x = right`` of shape ``(d, k)`` with the factor of :func:`factor_in_place`."""
    found, blocks = np.array(right, np.float64), _blocks(len(factor))
    for block in blocks:  # forwards: factor y = right
        found[block] -= factor[block, : block.start] @ found[: block.start]
        found[block] = np.linalg.solve(factor[block, block], found[block])
    for block in reversed(blocks):  # backwards: factor transposed x = y
        found[block] -= factor[block.stop :, block].T @ found[block.stop :]
        found[block] = np.linalg.solve(factor[block, block].T, found[block])
    return found


def inverse_trace(factor: DoubleArray) -> float:
    """Trace of the inverse of the matrix with this factor: the sum of squares of the factor's inverse."""
    blocks, total = _blocks(len(factor)), 0.0
    inverses = [np.linalg.inv(factor[block, block]) for block in blocks]
    for place, first in enumerate(blocks):  # the inverse's columns, some at a time
        columns = np.empty((len(factor) - first.start, first.stop - first.start))
        columns[: first.stop - first.start] = inverses[place]
        for block, inverse in zip(blocks[place + 1 :], inverses[place + 1 :], strict=True):
            known = slice(first.start, block.start)
            done = block.start - first.start
            columns[done : block.stop - first.start] = -inverse @ (factor[block, known] @ columns[:done])
        total += float(np.square(columns).sum())
    return total
