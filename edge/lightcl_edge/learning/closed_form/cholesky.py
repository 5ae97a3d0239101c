"""Covariances inverted in blocks, in their own memory (Golub and Van Loan, 4.2.9)."""

import numpy as np

from lightcl_edge.errors import StateError
from lightcl_edge.files.tensors import DoubleArray

_BLOCK = 64


def invert_in_place(matrix: DoubleArray) -> None:
    """Overwrite ``matrix`` ``(d, d)`` with its inverse; working memory is ``d`` times 64 numbers.

    Raises:
        StateError: when it is not positive definite, as the covariance of samples is.
    """
    blocks = [slice(at, min(at + _BLOCK, len(matrix))) for at in range(0, len(matrix), _BLOCK)]
    try:
        inverses = _factor(matrix, blocks)
    except np.linalg.LinAlgError as error:
        raise StateError(
            f"the sums of what was learned before can't be solved ({error}), expected those of real samples; "
            "roll back to another generation: lightcl-edge rollback --state S"
        ) from error
    _invert_factor(matrix, blocks, inverses)
    for block in blocks:  # X' X with the factor's inverse X, a block of rows at a time
        below = slice(block.start, None)
        matrix[block, : block.stop] = matrix[below, block].T @ matrix[below, : block.stop]
    for block in blocks:
        matrix[: block.start, block] = matrix[block, : block.start].T


def _factor(matrix: DoubleArray, blocks: list[slice]) -> list[DoubleArray]:
    """The Cholesky factor, in the lower half below its diagonal blocks; gives the inverses of those."""
    inverses: list[DoubleArray] = []
    for block in blocks:
        if block.start:
            matrix[block.start :, block] -= matrix[block.start :, : block.start] @ matrix[block, : block.start].T
        inverses.append(np.linalg.inv(np.linalg.cholesky(matrix[block, block])))
        below = matrix[block.stop :, block]
        below[:] = below @ inverses[-1].T
    return inverses


def _invert_factor(factor: DoubleArray, blocks: list[slice], inverses: list[DoubleArray]) -> None:
    """The inverse of the lower half, column by column of blocks."""
    for place, column in enumerate(blocks):
        factor[column, column] = inverses[place]
        for block, inverse in zip(blocks[place + 1 :], inverses[place + 1 :], strict=True):
            known = slice(column.start, block.start)
            # its own block, still the factor's, multiplies the inverse on the diagonal
            factor[block, column] = -inverse @ (factor[block, known] @ factor[known, column])
