"""How much a covariance of few samples is drawn towards one variance for all directions."""

import numpy as np

from lightcl_edge.data.sums import Pooled

#: The shrinkage is a half when there are this many samples a dimension.
SAMPLES_PER_DIMENSION = 2


def shrinkage(pooled: Pooled) -> float:
    """``2 d / (2 d + N)`` of ``N`` samples in ``d`` dimensions: near 1 for few samples, near 0 for many."""
    weight = SAMPLES_PER_DIMENSION * int(pooled.means.shape[1])
    return weight / (weight + max(1, pooled.samples))


def degrees_of_freedom(pooled: Pooled) -> int:
    """Samples less the classes whose means were taken from them, at least 1."""
    return max(1, pooled.samples - len(pooled.counts))


def mean_variance(pooled: Pooled) -> float:
    """Mean variance of a direction, above 0.

    A tenth of the means' own size stands in for it while no class has two different samples.
    """
    size = pooled.means.shape[1]
    found = float(np.trace(pooled.scatter)) / degrees_of_freedom(pooled) / size
    length = float(np.square(pooled.means).sum(axis=1).mean()) / size if len(pooled.means) else 1.0
    return found if found > 1e-6 * length else max(0.1 * length, 1e-12)
