"""The methods of the paper's Table 1 in plain PyTorch: one file each behind one contract, loaded by name.

This module imports no torch: a board without it can still list the methods.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lightcl_edge.errors import UsageError

if TYPE_CHECKING:
    from lightcl_profiler.baselines.contract import Baseline

_HERE = "lightcl_profiler.baselines"


@dataclass(frozen=True)
class Entry:
    """A baseline, described without importing it."""

    implementation: str
    title: str
    paper: str


#: Name -> baseline, in the order of the paper's table.
BASELINES = {
    "joint": Entry(f"{_HERE}.joint:Joint", "all tasks at once, plain SGD: the upper bound", "no paper"),
    "sgd": Entry(f"{_HERE}.sgd:Sgd", "each task in turn by plain SGD, nothing done against forgetting", "no paper"),
    "ewc": Entry(
        f"{_HERE}.ewc:Ewc",
        "online elastic weight consolidation: weights that mattered are held",
        "Kirkpatrick et al., PNAS 2017; online form: Schwarz et al., ICML 2018",
    ),
    "pnn": Entry(
        f"{_HERE}.pnn:Pnn",
        "progressive networks: a new column a task, lateral connections from the frozen ones",
        "Rusu et al., arXiv 1606.04671, 2016",
    ),
    "fdr": Entry(
        f"{_HERE}.fdr:Fdr",
        "function distance: answers on remembered images are held",
        "Benjamin et al., ICLR 2019",
    ),
    "er": Entry(
        f"{_HERE}.er:Er",
        "experience replay: remembered images join every batch",
        "Chaudhry et al., arXiv 1902.10486, 2019",
    ),
    "derpp": Entry(
        f"{_HERE}.derpp:Derpp",
        "dark experience replay: remembered images with their logits and labels",
        "Buzzega et al., NeurIPS 2020",
    ),
    "sparcl_er": Entry(
        f"{_HERE}.sparcl_er:SparclEr",
        "experience replay with sparse weights, gradients and data",
        "Wang et al., NeurIPS 2022 (SparCL)",
    ),
    "sparcl_derpp": Entry(
        f"{_HERE}.sparcl_derpp:SparclDerpp",
        "dark experience replay with sparse weights, gradients and data",
        "Wang et al., NeurIPS 2022 (SparCL)",
    ),
    "lightcl_torch": Entry(
        f"{_HERE}.lightcl_torch:LightClTorch",
        "LightCL as its reference does it: the whole network in PyTorch, trunk frozen, BatchNorm in training mode",
        "Wang et al., ASP-DAC 2025 (LightCL)",
    ),
    "lightcl_sparse": Entry(
        f"{_HERE}.lightcl_sparse:LightClSparse",
        "the same with masked channels, as the reference's sparse option",
        "Wang et al., ASP-DAC 2025 (LightCL)",
    ),
}


def load_baseline(name: str) -> type[Baseline]:
    """The class of a baseline; imports torch.

    Raises:
        UsageError: naming all known ones.
    """
    if name not in BASELINES:
        raise UsageError(f"found baseline {name!r}, expected one of: {', '.join(BASELINES)}")
    module, _, kind = BASELINES[name].implementation.partition(":")
    loaded: Any = getattr(importlib.import_module(module), kind)
    return loaded  # type: ignore[no-any-return]  # a test loads every one of them
