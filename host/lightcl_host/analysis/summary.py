"""Figures of a cut, each with its standard error, and the rank correlation of a figure with depth."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from lightcl_edge.files.tensors import FloatArray

#: A probe with a lower accuracy knows nothing, and a ratio with it says nothing.
_SMALLEST_ACCURACY = 1e-9


def harmonic_mean(first: float, second: float) -> float:
    """``2 a b / (a + b)``; 0 where both are 0."""
    return 2 * first * second / (first + second) if first + second > 0 else 0.0


def plasticity(before: Sequence[float], after: Sequence[float]) -> float:
    """Mean over tasks of the probe accuracy before a task over that after it, each ratio clipped at 1."""
    ratios = [min(1.0, old / new) if new > _SMALLEST_ACCURACY else 1.0 for old, new in zip(before, after, strict=True)]
    return float(np.mean(ratios))


def cut_figures(measured: dict[str, Any]) -> dict[str, float]:
    """The measured fields of a cut's ``CutRecord``, from its part of the document of ``measure``.

    Of each list the first value is of all images and the others are of random halves. The deviation over halves is
    the standard error of the first value (the jackknife that deletes half, Shao and Wu 1989).
    """
    both = [harmonic_mean(a, b) for a, b in zip(measured["stability"], measured["plasticity"], strict=True)]
    figures: dict[str, float] = {}
    for key, values in (
        ("memory_stability", measured["stability"]),
        ("learning_plasticity", measured["plasticity"]),
        ("generalizability", both),
    ):
        figures[key], figures[f"{key}_deviation"] = values[0], float(np.std(values[1:], ddof=1))
    return figures | {f"probe_accuracy_{when}": measured[when] for when in ("before", "after")}


def rank_correlation(values: Sequence[float]) -> float | None:
    """Spearman's correlation of values with their position; None for fewer than three values or when all are equal."""
    if len(values) < 3 or len(set(values)) < 2:
        return None
    return same_ranking(values, range(len(values)))


def same_ranking(first: Sequence[float], second: Sequence[float]) -> float:
    """Spearman's correlation of two lists of several values, neither of them all equal."""
    return float(np.corrcoef(_ranks(first), _ranks(second))[0, 1])


def _ranks(values: Sequence[float]) -> FloatArray:
    """Equal values share the mean of their ranks."""
    each = np.asarray(values)
    return np.array([(each < value).sum() + ((each == value).sum() - 1) / 2 for value in each])
