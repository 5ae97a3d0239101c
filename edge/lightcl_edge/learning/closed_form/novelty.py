"""Has the device seen anything like this? Relative Mahalanobis distance (Ren et al. 2021) on taps.

The score of a sample ``x`` is ``min_c (x - mu_c)' P (x - mu_c) - share (x - m)' P_0 (x - m)``. ``P`` is the inverse of
the covariance within classes, as the classifier shrinks it. ``P_0`` is the inverse of the covariance of all samples
around their mean, shrunk alike, and ``m`` the mean of the class means. So the score is large for what lies far from
every class in a direction in which samples hardly differ.

What lies far from the mean of all samples is strange in itself while there are few samples or classes. Then only a
``share`` of that distance is taken away: ``(1 - s^2 / 3) (1 - 1 / (4 k^2))`` with the shrinkage ``s`` and ``k``
classes. It was chosen on validation images of CIFAR-10 with 1 to 8 known classes of 1 to 300 images
(``docs/builders/results-learning.md``).
"""

import numpy as np

from lightcl_edge.data.sums import Pooled
from lightcl_edge.files.tensors import DoubleArray
from lightcl_edge.inference.learned_classifier import NoveltyTerms
from lightcl_edge.learning.closed_form.cholesky import invert_in_place
from lightcl_edge.learning.closed_form.shrinkage import mean_variance, shrinkage


def background(pooled: Pooled, *, one_variance: bool) -> DoubleArray:
    """``share P_0`` of the score, shape ``(d, d)``; with one variance for all directions if the classifier has it."""
    size, total = pooled.means.shape[1], max(1, pooled.samples)
    apart = pooled.means - np.average(pooled.means, axis=0, weights=np.maximum(pooled.counts, 1e-9))
    matrix = (apart.T * pooled.counts) @ apart
    matrix += pooled.scatter
    matrix /= total
    shrunk = shrinkage(pooled)
    variance = max(float(np.trace(matrix)) / size, mean_variance(pooled))
    if one_variance:
        matrix[:] = 0.0
        matrix.flat[:: size + 1] = 1.0 / variance
    else:
        matrix *= 1.0 - shrunk
        matrix.flat[:: size + 1] += shrunk * variance
        invert_in_place(matrix)
    matrix *= (1.0 - shrunk**2 / 3.0) * (1.0 - 0.25 / len(pooled.means) ** 2)
    return matrix


def fit_novelty(
    means: DoubleArray, weights: DoubleArray, precision: DoubleArray | float, behind: DoubleArray
) -> NoveltyTerms:
    """The terms of the score.

    Args:
        means: of the classes, shape ``(k, d)``, ``k`` at least 1.
        weights: their rows ``P mu_c``, shape ``(k, d)``.
        precision: ``P``, shape ``(d, d)``, or a number that stands for so many times the identity.
        behind: the :func:`background`, which is overwritten.
    """
    centre = means.mean(axis=0)
    shift = weights - weights.mean(axis=0)  # P (mu_c - m)
    own = np.einsum("kd,kd->k", shift, means - centre) + 2.0 * shift @ centre
    np.negative(behind, out=behind)
    if isinstance(precision, float):
        behind.flat[:: len(behind) + 1] += precision
    else:
        behind += precision
    return NoveltyTerms(centre.astype(np.float32), behind.astype(np.float32), own)
