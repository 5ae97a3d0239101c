"""SparCL on dark experience replay (Wang et al., NeurIPS 2022)."""

from __future__ import annotations

from lightcl_profiler.baselines.derpp import Derpp
from lightcl_profiler.baselines.sparcl import SparclReplay


class SparclDerpp(SparclReplay, Derpp):
    """Dark experience replay with masked weights, gradients and data."""
