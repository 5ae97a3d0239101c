"""Discriminant analysis and the nearest class mean: the classifier is in closed form, and no step is made.

Streaming discriminant analysis was published by Hayes and Kanan (2020). Theirs has a running covariance around the
means as they were when a sample came; sums give the exact one. The rows are those of ``learning/closed_form``.
"""

from typing import ClassVar

from lightcl_edge.learning.closed_form.nearest_mean import nearest_mean_rows
from lightcl_edge.learning.strategies.contract import Strategy


class Slda(Strategy):
    """Linear discriminant analysis."""

    name = "slda"
    trains_head = False
    on_closed_form = True
    head_share = 0.0
    uses: ClassVar[tuple[str, ...]] = ()


class Ncm(Slda):
    """Nearest class mean (Mensink et al. 2013)."""

    name = "ncm"

    fit = staticmethod(nearest_mean_rows)
