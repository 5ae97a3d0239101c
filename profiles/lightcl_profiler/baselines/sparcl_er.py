"""SparCL on experience replay (Wang et al., NeurIPS 2022)."""

from __future__ import annotations

from lightcl_profiler.baselines.er import Er
from lightcl_profiler.baselines.sparcl import SparclReplay


class SparclEr(SparclReplay, Er):
    """Experience replay with masked weights, gradients and data."""
