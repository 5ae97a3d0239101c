"""Repeats of a measurement as one figure with its spread, and the rank correlation of a figure with depth."""

from collections.abc import Sequence
from typing import Any

import numpy as np

#: A probe with a lower accuracy knows nothing, and a ratio with it says nothing.
_SMALLEST_ACCURACY = 1e-9


def harmonic_mean(first: float, second: float) -> float:
    """``2 a b / (a + b)``; 0 where both are 0."""
    return 2 * first * second / (first + second) if first + second > 0 else 0.0


def plasticity(before: Sequence[float], after: Sequence[float]) -> float:
    """Mean over tasks of the probe accuracy before a task over that after it, each ratio clipped at 1."""
    ratios = [min(1.0, old / new) if new > _SMALLEST_ACCURACY else 1.0 for old, new in zip(before, after, strict=True)]
    return float(np.mean(ratios))


def spread(values: Sequence[float]) -> tuple[float, float]:
    """Mean and standard deviation of a sample; 0 deviation for a single value."""
    return float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else 0.0


def cut_figures(repeats: Sequence[dict[str, Any]], name: str) -> dict[str, float]:
    """The measured fields of a cut's ``CutRecord``, from the documents of ``measure_repeat``."""
    stability = [float(np.mean(each["stability"][name])) for each in repeats]
    learning = [plasticity(each["before"][name], each["after"][name]) for each in repeats]
    both = [harmonic_mean(a, b) for a, b in zip(stability, learning, strict=True)]
    figures: dict[str, float] = {}
    for key, values in (
        ("memory_stability", stability),
        ("learning_plasticity", learning),
        ("generalizability", both),
    ):
        figures[key], figures[f"{key}_deviation"] = spread(values)
    for when in ("before", "after"):
        figures[f"probe_accuracy_{when}"] = float(np.mean([each[when][name] for each in repeats]))
    return figures


def rank_correlation(values: Sequence[float]) -> float | None:
    """Spearman's correlation of values with their position; None for fewer than three values or when all are equal."""
    if len(values) < 3 or len(set(values)) < 2:
        return None
    from scipy.stats import spearmanr

    return float(spearmanr(range(len(values)), values).statistic)
