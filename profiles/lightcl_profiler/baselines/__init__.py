"""The methods of the paper's Table 1 in plain PyTorch: loaded by name.

This module imports no torch: a board without it can still list the methods.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lightcl_edge.errors import UsageError

if TYPE_CHECKING:
    from lightcl_profiler.baselines.contract import Baseline


@dataclass(frozen=True)
class Entry:
    """A baseline, described without importing it."""

    implementation: str  # module:Class
    title: str
    paper: str


#: Name -> baseline, in the order of the paper's table.
BASELINES = {
    "joint": Entry("sgd:Joint", "all tasks at once, plain SGD: the upper bound", "no paper"),
    "sgd": Entry("sgd:Sgd", "each task in turn by plain SGD, nothing done against forgetting", "no paper"),
    "ewc": Entry(
        "ewc:Ewc",
        "online elastic weight consolidation: weights that mattered are held",
        "Kirkpatrick et al., PNAS 2017; online form: Schwarz et al., ICML 2018",
    ),
    "pnn": Entry(
        "pnn:Pnn",
        "progressive networks: a new column a task, lateral connections from the frozen ones",
        "Rusu et al., arXiv 1606.04671, 2016",
    ),
    "fdr": Entry("fdr:Fdr", "function distance: answers on remembered images are held", "Benjamin et al., ICLR 2019"),
    "er": Entry(
        "er:Er", "experience replay: remembered images join every batch", "Chaudhry et al., arXiv 1902.10486, 2019"
    ),
    "derpp": Entry(
        "derpp:Derpp",
        "dark experience replay: remembered images with their logits and labels",
        "Buzzega et al., NeurIPS 2020",
    ),
    "sparcl_er": Entry(
        "sparcl:SparclEr",
        "experience replay with sparse weights, gradients and data",
        "Wang et al., NeurIPS 2022 (SparCL)",
    ),
    "sparcl_derpp": Entry(
        "sparcl:SparclDerpp",
        "dark experience replay with sparse weights, gradients and data",
        "Wang et al., NeurIPS 2022 (SparCL)",
    ),
    "lightcl_torch": Entry(
        "lightcl_torch:LightClTorch",
        "LightCL as its reference does it: the whole network in PyTorch, trunk frozen, BatchNorm in training mode",
        "Wang et al., ASP-DAC 2025 (LightCL)",
    ),
    "lightcl_sparse": Entry(
        "lightcl_sparse:LightClSparse",
        "the same with masked channels, as the reference's sparse option",
        "Wang et al., ASP-DAC 2025 (LightCL)",
    ),
}


def load_baseline(name: str) -> type[Baseline]:
    """The class of a baseline; imports torch. A UsageError names all known ones."""
    if name not in BASELINES:
        raise UsageError(f"found baseline {name!r}, expected one of: {', '.join(BASELINES)}")
    module, _, kind = BASELINES[name].implementation.partition(":")
    loaded: type[Baseline] = getattr(importlib.import_module(f"{__name__}.{module}"), kind)
    return loaded
