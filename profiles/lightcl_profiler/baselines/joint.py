"""JOINT: all tasks learned as one, as if all images were at hand from the start. The upper bound."""

from __future__ import annotations

from typing import ClassVar

from lightcl_profiler.baselines.sgd import Sgd


class Joint(Sgd):
    """Plain SGD over the union of all tasks; what drives it gives it one task."""

    joint: ClassVar[bool] = True
