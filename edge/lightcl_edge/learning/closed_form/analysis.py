"""Linear discriminant analysis (Fisher 1936) from the sums of classes.

With class means ``mu_c``, a shared covariance ``A`` and equal priors, ``w_c = A^-1 mu_c`` and ``b_c = -mu_c . w_c / 2``
make logits that are log posteriors. Two things differ from the textbook, so that few and unequal samples do no harm:

- ``A = (1 - s) S / N + s v I`` with the scatter ``S`` of ``N`` samples, their mean variance ``v`` and
  ``s = 2 d / (2 d + N)``. One sample a class makes it the nearest class mean, many make it the full analysis.
- The mean of few samples is noisy, and its noise makes ``mu_c . w_c`` too large by ``t / n_c`` with the mean squared
  length ``t`` of a sample around its class mean. The bias gets half of that back. Without it a large class swallows a
  small one. A sample that made ``A`` is shorter than a new one: ``q = tr(A^-1 S) / (N - k)`` of the samples themselves
  becomes ``t = q / (1 - a q)`` with ``a = (1 - s) / N``. That is leaving each one out (Sherman and Morrison 1950), with
  the mean in place of each sample's own length, as in generalised cross-validation.
"""

from dataclasses import dataclass

import numpy as np

from lightcl_edge.data.sums import Pooled
from lightcl_edge.files.tensors import DoubleArray
from lightcl_edge.learning.closed_form.cholesky import invert_in_place
from lightcl_edge.learning.closed_form.shrinkage import degrees_of_freedom, mean_variance, shrinkage


@dataclass(frozen=True)
class Rows:
    """The rows of a classifier.

    Attributes:
        weights: shape ``(k, d)``.
        biases: shape ``(k,)``.
        noise: squared length of each class mean's own noise, ``t / n_c``, shape ``(k,)``.
        precision: the inverse ``(d, d)`` of the covariance, or a number that stands for so many times the identity.
        sample_weight: what a sample's products count for in the covariance.
    """

    weights: DoubleArray
    biases: DoubleArray
    noise: DoubleArray
    precision: DoubleArray | float
    sample_weight: float = 0.0


def analysis_rows(pooled: Pooled) -> Rows:
    """Rows of all classes. The scatter of ``pooled`` is overwritten: a device has no room for a copy.

    Raises:
        StateError: when the scatter is not that of samples.
    """
    size, samples = pooled.means.shape[1], max(1, pooled.samples)
    shrunk = shrinkage(pooled)
    scale, ridge = (1.0 - shrunk) / samples, shrunk * mean_variance(pooled)
    matrix = pooled.scatter
    matrix *= scale
    matrix.flat[:: size + 1] += ridge
    invert_in_place(matrix)
    # tr(A^-1 S) / dof, as S = (A - ridge I) / scale
    length = (size - ridge * float(np.trace(matrix))) / scale / degrees_of_freedom(pooled)
    length /= 1.0 - scale * length
    return rows_of(pooled.means @ matrix, matrix, pooled, length, scale)


def rows_of(
    weights: DoubleArray, precision: DoubleArray | float, pooled: Pooled, length: float, sample_weight: float = 0.0
) -> Rows:
    """Rows with the biases that follow from weights ``(k, d)`` and the mean squared length of a new sample."""
    noise = length / pooled.counts
    biases = 0.5 * (noise - np.einsum("kd,kd->k", weights, pooled.means))
    return Rows(weights, biases, noise, precision, sample_weight)
