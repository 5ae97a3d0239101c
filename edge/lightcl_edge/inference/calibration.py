"""Do probabilities mean what they say, and does a score tell two groups of images apart?"""

import numpy as np
from numpy.typing import NDArray

from lightcl_edge.files.tensors import DoubleArray, FloatArray

#: Bins of equal width, as in Guo et al.
BINS = 15


def expected_calibration_error(confidences: FloatArray | DoubleArray, right: NDArray[np.bool_]) -> float:
    """How far probabilities are from the share of right predictions (Guo et al. 2017, eq. 3; 15 bins of equal width).

    Predictions are put into bins by their probability. A bin counts by its samples, with the difference between its
    mean probability and its share of right predictions.

    Args:
        confidences: the probability of each predicted class, shape ``(n,)``, at least one.
        right: whether each prediction is right, shape ``(n,)``.

    Returns:
        0 to 1; 0 where a probability of 70 % is right 70 times in a hundred.
    """
    values = confidences.astype(np.float64)
    bins = np.clip(np.ceil(values * BINS).astype(np.int64) - 1, 0, BINS - 1)
    gaps = np.bincount(bins, values - right, BINS)
    return float(np.abs(gaps).sum() / len(values))


def auroc(low: FloatArray | DoubleArray, high: FloatArray | DoubleArray) -> float:
    """The probability that a score of ``high`` is above one of ``low``, where ties count half.

    It is the area under the curve of the receiver operating characteristic (Mann and Whitney 1947), 0.5 by chance.

    Args:
        low: scores of the group that should have small ones, shape ``(n,)``, at least one.
        high: scores of the other group, shape ``(m,)``, at least one.
    """
    _, places, counts = np.unique(np.concatenate([low, high]), return_inverse=True, return_counts=True)
    middle = np.cumsum(counts) - (counts - 1) / 2  # the rank that equal scores share, from 1
    ranks = float(middle[places[len(low) :]].sum())
    pairs = len(low) * len(high)
    return (ranks - len(high) * (len(high) + 1) / 2) / pairs
