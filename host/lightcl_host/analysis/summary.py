"""Several repeats of a measurement as one figure with its spread, and how a figure goes with depth."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

#: Below this, a probe knows nothing, and a ratio of two of them says nothing.
_SMALLEST_ACCURACY = 1e-9


def harmonic_mean(first: float, second: float) -> float:
    """``2 a b / (a + b)``; 0 where both are 0."""
    return 2 * first * second / (first + second) if first + second > 0 else 0.0


def plasticity(before: Sequence[float], after: Sequence[float]) -> float:
    """Mean over tasks of probe accuracy before over after, each clipped at 1.

    Args:
        before: accuracies before each task.
        after: accuracies after it.

    Returns:
        1 where training a layer would add nothing.
    """
    ratios = [min(1.0, old / new) if new > _SMALLEST_ACCURACY else 1.0 for old, new in zip(before, after, strict=True)]
    return float(np.mean(ratios))


def spread(values: Sequence[float]) -> tuple[float, float]:
    """Mean and standard deviation of a sample; 0 deviation for a single value."""
    return float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else 0.0


def cut_figures(repeats: Sequence[dict[str, Any]], name: str) -> dict[str, float]:
    """The measured figures of a cut over all repeats.

    Args:
        repeats: documents of :func:`lightcl_host.analysis.generalizability.measure_repeat`.
        name: of the cut.

    Returns:
        The fields of :class:`lightcl_host.analysis.record.CutRecord` of these names.
    """
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
    """Spearman's correlation of values with their position; equal values share their mean rank.

    Args:
        values: in order.

    Returns:
        -1 where they only fall, 1 where they only rise; None for fewer than three or where all are equal.
    """
    if len(values) < 3 or len(set(values)) < 2:
        return None
    array = np.asarray(values)
    ranks = np.array([(array < value).sum() + ((array == value).sum() - 1) / 2 for value in array])
    return float(np.corrcoef(np.arange(len(array)), ranks)[0, 1])
