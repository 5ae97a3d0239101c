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

from typing import NamedTuple

import numpy as np

from lightcl_edge.data.sums import Pooled
from lightcl_edge.files.tensors import DoubleArray, FloatArray, IntArray
from lightcl_edge.inference.learned_classifier import NoveltyTerms
from lightcl_edge.learning.closed_form.analysis import Rows
from lightcl_edge.learning.closed_form.cholesky import invert_in_place
from lightcl_edge.learning.closed_form.shrinkage import mean_variance, shrinkage

#: Left-out samples are scored so many at a time: a device has no room for products of all.
_BLOCK = 64


class Background(NamedTuple):
    """All samples around their mean."""

    matrix: DoubleArray  # share P_0, shape (d, d)
    mean: DoubleArray  # of all samples, shape (d,)
    share: float
    sample_weight: float  # what a sample's products count for in the covariance


def background(pooled: Pooled, *, one_variance: bool) -> Background:
    """What the score takes away; with one variance for all directions if the classifier has it."""
    size, total = pooled.means.shape[1], max(1, pooled.samples)
    mean = np.average(pooled.means, axis=0, weights=np.maximum(pooled.counts, 1e-9))
    apart = pooled.means - mean
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
    share = (1.0 - shrunk**2 / 3.0) * (1.0 - 0.25 / len(pooled.means) ** 2)
    matrix *= share
    return Background(matrix, mean, share, 0.0 if one_variance else (1.0 - shrunk) / total)


def fit_novelty(
    means: DoubleArray, weights: DoubleArray, precision: DoubleArray | float, behind: DoubleArray
) -> NoveltyTerms:
    """The terms of the score.

    Args:
        means: of the classes, shape ``(k, d)``, ``k`` at least 1.
        weights: their rows ``P mu_c``, shape ``(k, d)``.
        precision: ``P``, shape ``(d, d)``, or a number that stands for so many times the identity.
        behind: the matrix of the :func:`background`, which is overwritten.
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


def left_out_novelty(rows: Rows, pooled: Pooled, behind: Background, taps: FloatArray, labels: IntArray) -> DoubleArray:
    """Scores that learned samples would have if they had not been learned, shape ``(n,)``.

    A sample leaves its class's mean and both covariances, whose inverses follow from one product (Sherman and Morrison
    1950); the shrinkage stays.

    Args:
        rows: of all classes.
        pooled: its means and counts; the scatter is not looked at.
        behind: of the same sums.
        taps: shape ``(n, d)``.
        labels: shape ``(n,)``, of classes with two samples or more.
    """
    blocks = range(0, len(labels), _BLOCK)
    parts = [_left_out(rows, pooled, behind, taps[at : at + _BLOCK], labels[at : at + _BLOCK]) for at in blocks]
    return np.concatenate(parts or [np.zeros(0)])


def _left_out(rows: Rows, pooled: Pooled, behind: Background, taps: FloatArray, labels: IntArray) -> DoubleArray:
    means, counts = pooled.means, pooled.counts[labels].astype(np.float64)
    apart = taps - means[labels]
    gain, towards, length = _without(apart, rows.precision, rows.sample_weight * counts / (counts - 1.0))
    products = taps @ rows.precision if isinstance(rows.precision, np.ndarray) else taps * rows.precision
    distances = np.einsum("nd,nd->n", products, taps)[:, None] - 2.0 * taps @ rows.weights.T
    distances += np.einsum("kd,kd->k", rows.weights, means)
    distances += gain[:, None] * np.square(np.einsum("nd,nd->n", towards, taps)[:, None] - towards @ means.T)
    own = np.arange(len(labels)), labels
    distances[own] = np.square(counts / (counts - 1.0)) * (length + gain * np.square(length))
    total = max(2, pooled.samples)
    weight = behind.sample_weight * total / (total - 1.0) / behind.share
    gain, towards, _ = _without(taps - behind.mean, behind.matrix, weight)
    centred = taps - means.mean(axis=0) + apart / (counts - 1.0)[:, None] / len(means)
    far = np.einsum("nd,nd->n", centred @ behind.matrix, centred)
    far += gain * np.square(np.einsum("nd,nd->n", towards, centred))
    scores: DoubleArray = distances.min(axis=1) - far
    return scores


def _without(
    apart: DoubleArray, inverse: DoubleArray | float, weight: DoubleArray | float
) -> tuple[DoubleArray, DoubleArray, DoubleArray]:
    """What the inverse grows by without ``weight x x'`` in the covariance: ``gain (P x)(P x)'``, and ``x' P x``."""
    towards = apart @ inverse if isinstance(inverse, np.ndarray) else apart * inverse
    length = np.einsum("nd,nd->n", towards, apart)
    return weight / (1.0 - weight * length), towards, length
