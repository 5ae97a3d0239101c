"""Running means and a shared covariance of classes, and the classifier that follows from them in closed form.

Exact: whatever the order and size of the parts in which samples come, counts, means and scatter are those of all
samples at once (pairwise update of Chan, Golub and LeVeque 1979), up to rounding in float64.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from lightcl_edge.files.tensors import DoubleArray, FloatArray, IntArray

#: Share of the identity in the covariance; chosen on validation images (``docs/results-learning.md``).
SHRINKAGE = 0.5
#: Mean squared distance between class means, in the metric of the rows, that training starts from; chosen likewise.
SEPARATION = 11.0
_BLOCK = 128


class ClassStatistics:
    """Counts, means and the within-class scatter that all classes share.

    The scatter is the sum over samples of ``(x - mean of its class)(x - mean of its class)^T``; unless ``full`` only
    its trace is kept, shape ``(1, 1)``.
    """

    def __init__(self, rows: int, size: int, *, full: bool = True) -> None:
        self.counts: IntArray = np.zeros(rows, np.int64)
        self.means: DoubleArray = np.zeros((rows, size))  # zero for classes without samples
        self.scatter: DoubleArray = np.zeros((size, size) if full else (1, 1))
        self.scattered = 0  # samples in the scatter
        self._full = full

    def _scatter(self, values: DoubleArray, weight: float = 1.0) -> None:
        """Add the rows' outer products (or their trace), some columns at a time: a device has no room for a copy."""
        if not self._full:
            self.scatter += weight * np.square(values).sum()
            return
        for start in range(0, len(self.scatter), _BLOCK):
            part = slice(start, start + _BLOCK)
            self.scatter[part] += weight * (values[:, part].T @ values)

    def add(self, values: FloatArray, labels: IntArray) -> None:
        """Take in samples, shape ``(n, size)``, with their rows, shape ``(n,)``."""
        for row in np.unique(labels):
            part = values[labels == row].astype(np.float64)
            mean, new, old = part.mean(axis=0), len(part), int(self.counts[row])
            part -= mean
            self._scatter(part)
            shift = mean - self.means[row]
            if old:
                self._scatter(shift[None], old * new / (old + new))
            self.means[row] += shift * (new / (old + new))
            self.counts[row] += new
        self.scattered += len(labels)

    def add_spread(self, values: FloatArray, labels: IntArray) -> None:
        """Add only the scatter of samples around the known means; shapes as in :meth:`add`."""
        if len(labels):
            self._scatter(values.astype(np.float64) - self.means[labels])
            self.scattered += len(labels)

    def squared_length(self) -> float:
        """Mean squared length of all samples; 0 while there are none."""
        lengths = np.square(self.means).sum(axis=1)
        spread = float(np.trace(self.scatter)) / max(1, self.scattered)
        return spread + float(np.average(lengths, weights=self.counts)) if self.counts.any() else 0.0

    def forget(self, row: int) -> None:
        """Erase a class; rows above it move down. The scatter can't be split by class, so all of it goes."""
        self.counts = np.append(np.delete(self.counts, row), 0)
        self.means = np.append(np.delete(self.means, row, axis=0), np.zeros((1, self.means.shape[1])), axis=0)
        self.scatter[:] = 0.0
        self.scattered = 0

    def tensors(self) -> dict[str, NDArray[np.generic]]:
        """What to keep. The symmetric scatter is its upper half in float32: half the bytes, for an error of 1e-7."""
        used = int(np.flatnonzero(self.counts).max(initial=-1)) + 1
        upper = [line[place:].astype(np.float32) for place, line in enumerate(self.scatter)]
        return {
            "counts": self.counts[:used],
            "means": self.means[:used],
            "scatter": np.concatenate(upper),
            "scattered": np.array([self.scattered], np.int64),
        }

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, NDArray[np.generic]], rows: int) -> ClassStatistics:
        """The statistics of :meth:`tensors`, with room for ``rows`` classes."""
        used, size = tensors["means"].shape
        made = cls(rows, size, full=tensors["scatter"].size > 1)
        made.counts[:used] = tensors["counts"]
        made.means[:used] = tensors["means"]
        start, packed = 0, tensors["scatter"]
        for place in range(len(made.scatter)):  # line by line: index arrays would be as large as the matrix
            line = packed[start : start + len(made.scatter) - place]
            made.scatter[place, place:] = made.scatter[place:, place] = line
            start += len(line)
        made.scattered = int(tensors["scattered"][0].item())
        return made

    def variance(self) -> float:
        """Mean variance of a direction, above 0; a tenth of the means' own size where no class has two samples."""
        size, used = self.means.shape[1], self.means[self.counts > 0]
        found = float(np.trace(self.scatter)) / max(1, self.scattered) / size
        length = float(np.square(used).sum(axis=1).mean()) / size if len(used) else 1.0
        return found if found > 1e-6 * length else max(0.1 * length, 1e-12)

    def covariance(self, shrinkage: float = SHRINKAGE) -> DoubleArray:
        """``(1 - shrinkage) S + shrinkage v I`` with the mean variance ``v``, shape ``(size, size)``."""
        shrunk = self.scatter.copy()
        shrunk *= (1.0 - shrinkage) / max(1, self.scattered)
        shrunk.flat[:: len(shrunk) + 1] += shrinkage * self.variance()
        return shrunk


def discriminant_rows(means: DoubleArray, covariance: DoubleArray) -> tuple[FloatArray, FloatArray]:
    """Linear discriminant analysis (Fisher 1936): rows whose logits are the classes' log posteriors, equal priors.

    From means ``(k, d)`` and the shared covariance ``(d, d)``, which is overwritten, follow ``w_c = S^-1 mu_c``, shape
    ``(k, d)``, and ``b_c = -mu_c . w_c / 2``, shape ``(k,)``.
    """
    weights = np.ascontiguousarray(solve_in_place(covariance, means.T).T, np.float32)
    return weights, (-0.5 * (weights * means).sum(axis=1)).astype(np.float32)


def soften(weights: FloatArray, biases: FloatArray, means: DoubleArray) -> tuple[FloatArray, FloatArray]:
    """Scale :func:`discriminant_rows` so that the classes' means lie at most ``SEPARATION`` apart.

    With many directions and few samples the analysis is too sure of itself, and a cross entropy of almost zero teaches
    nothing. The order of logits stays.
    """
    products = means @ weights.T.astype(np.float64)
    own = products.diagonal()
    pairs = own[:, None] + own[None] - products - products.T
    apart = pairs[np.triu_indices(len(own), 1)] if len(own) > 1 else 2 * own
    scale = np.float32(min(1.0, SEPARATION / max(float(apart.mean()), 1e-12))) if len(own) else np.float32(1.0)
    return weights * scale, biases * scale


def solve_in_place(matrix: DoubleArray, right: DoubleArray) -> DoubleArray:
    """Solve ``matrix @ x = right`` by a blocked Cholesky factorisation (Golub and Van Loan, 4.2.9).

    The matrix ``(d, d)`` is symmetric and positive definite; its lower half is overwritten. ``right`` is ``(d, k)``.
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
