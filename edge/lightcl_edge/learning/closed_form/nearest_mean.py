"""Nearest class mean (Mensink et al. 2013) from the sums of classes: an analysis with one variance for all directions.

The largest logit is that of the nearest mean, but for the noise of means of few samples.
"""

import numpy as np

from lightcl_edge.data.sums import Pooled
from lightcl_edge.learning.closed_form.analysis import Rows, rows_of
from lightcl_edge.learning.closed_form.shrinkage import degrees_of_freedom, mean_variance


def nearest_mean_rows(pooled: Pooled) -> Rows:
    """Rows of all classes, as :func:`~lightcl_edge.learning.closed_form.analysis.analysis_rows` gives them."""
    variance = mean_variance(pooled)
    length = float(np.trace(pooled.scatter)) / degrees_of_freedom(pooled) / variance
    return rows_of(pooled.means / variance, 1.0 / variance, pooled, length)
