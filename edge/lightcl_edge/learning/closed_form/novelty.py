"""Has the device seen anything like this? Relative Mahalanobis distance (Ren et al. 2021) on taps.

The score of a sample ``x`` is ``min_c (x - mu_c)' A^-1 (x - mu_c) - (x - m)' A0^-1 (x - m)``. ``A`` is the covariance
within classes, ``m`` the mean of the class means, and ``A0 = A + M M' / k`` adds the spread of the class means, the
columns ``mu_c - m`` of ``M``. It is large for what lies far from every class in a direction in which the classes do not
differ from each other.

``x' A^-1 x`` cancels, and ``A0^-1 = A^-1 - A^-1 M Q M' A^-1`` with ``Q = (k I + M' A^-1 M)^-1`` (Woodbury 1950). So
everything follows from the products ``z = W x`` with the rows ``W = M_0' A^-1`` of the analysis, ``M_0`` the class
means, and no matrix of ``d`` times ``d`` numbers is kept.
"""

import numpy as np

from lightcl_edge.files.tensors import DoubleArray
from lightcl_edge.inference.learned_classifier import NoveltyTerms


def fit_novelty(means: DoubleArray, weights: DoubleArray) -> NoveltyTerms:
    """The terms of the score.

    Args:
        means: of the classes, shape ``(k, d)``, ``k`` at least 1.
        weights: their rows ``A^-1 mu_c``, shape ``(k, d)``.
    """
    count = len(means)
    inner = weights @ means.T  # mu_a' A^-1 mu_b
    inner = (inner + inner.T) / 2
    centre = np.eye(count) - 1.0 / count
    between = centre @ inner @ centre  # M' A^-1 M
    shift = centre @ inner.mean(axis=1)  # M' A^-1 m
    inverse = np.linalg.inv(count * np.eye(count) + between)
    matrix = centre @ inverse @ centre
    linear = inverse @ shift
    return NoveltyTerms(
        matrix=(matrix + matrix.T) / 2,
        vector=2.0 / count - 2.0 * (centre @ linear),
        constant=float(shift @ linear - inner.mean()),
        own=inner.diagonal().copy(),
    )
