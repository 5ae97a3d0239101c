"""Which novelty scores a new image of a known class has, from those of a few held-out images."""

from math import erf, sqrt

import numpy as np

from lightcl_edge.files.tensors import DoubleArray, FloatArray, IntArray

#: Fewer scores than this say nothing of the next one.
FEWEST_SCORES = 4
#: With so many scores their own quantiles are enough.
ENOUGH_SCORES = 20
#: No tail of a normal distribution is followed further than this.
_TAIL = 0.001


def score_quantiles(scores: DoubleArray, count: int) -> FloatArray:
    """Quantiles that a new score stays below, at ``count`` levels from 0 to 1, ascending, shape ``(count,)``.

    They are the scores' own, where the largest of ``n`` is exceeded by one new score in ``n + 1`` (Weibull 1939). Few
    scores hold no such quantiles near 1: of eight, the largest is exceeded by 11 %. So with fewer than
    ``ENOUGH_SCORES`` a quantile is at least that of the prediction interval of a normal distribution.

    Args:
        scores: shape ``(n,)``; with fewer than ``FEWEST_SCORES`` the result is empty.
        count: how many levels.
    """
    number = len(scores)
    if number < FEWEST_SCORES:
        return np.zeros(0, np.float32)
    levels = np.linspace(0.0, 1.0, count)
    found = np.quantile(scores, levels, method="weibull")
    if number < ENOUGH_SCORES:
        spread = float(scores.std(ddof=1)) * sqrt(1.0 + 1.0 / number)
        steps = np.array([_student(float(level), number - 1) for level in np.clip(levels, _TAIL, 1.0 - _TAIL)])
        found = np.maximum(found, float(scores.mean()) + spread * steps)
    return np.maximum.accumulate(found).astype(np.float32)


def alike_many(labels: IntArray) -> IntArray:
    """Positions of as many samples of each class, at least :data:`FEWEST_SCORES` where it has them.

    Samples of a small class lie further from its mean. Those of a large class alone would set a threshold that calls
    them never seen.
    """
    counts = np.bincount(labels)
    most = max(FEWEST_SCORES, int(counts[counts > 0].min(initial=len(labels))))
    return np.sort(np.concatenate([np.flatnonzero(labels == row)[:most] for row in range(len(counts))] or [labels]))


def _student(level: float, freedom: int) -> float:
    """The quantile of Student's t distribution, by the expansion of Fisher and Cornish (1960)."""
    z = _normal(level)
    powers = z * np.array([1.0, z**2, z**4, z**6])
    terms = np.array([[1, 1, 0, 0], [3, 16, 5, 0], [-15, 17, 19, 3]]) @ powers
    return float(z + terms @ (np.array([1 / 4, 1 / 96, 1 / 384]) / float(freedom) ** np.arange(1, 4)))


def _normal(level: float) -> float:
    """The quantile of the normal distribution, by bisection; :mod:`statistics` would cost a megabyte."""
    low, high = -8.0, 8.0
    for _ in range(50):
        middle = (low + high) / 2.0
        low, high = (middle, high) if 0.5 * (1.0 + erf(middle / sqrt(2.0))) < level else (low, middle)
    return (low + high) / 2.0
