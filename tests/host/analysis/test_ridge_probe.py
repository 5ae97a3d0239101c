"""The ridge probe against its own formula, and plasticity against cases whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest

from lightcl_host.analysis.ridge_probe import ridge_right
from lightcl_host.analysis.summary import cut_figures, harmonic_mean, plasticity, rank_correlation


def clusters(rng: np.random.Generator, count: int, noise: float, width: int = 30) -> tuple[np.ndarray, np.ndarray]:
    means = np.random.default_rng(9).normal(size=(3, width))
    labels = rng.integers(3, size=count)
    return (means[labels] + noise * rng.normal(size=(count, width))).astype(np.float32), labels


@pytest.mark.parametrize("width", [30, 400])  # fewer and more entries than samples
def test_the_probe_is_ridge_regression(width: int) -> None:
    rng = np.random.default_rng(0)
    fit, labels = clusters(rng, 90, 3.0, width)
    test, wanted = clusters(rng, 200, 3.0, width)
    scaled = [(each - fit.mean(axis=0)) / fit.std(axis=0) / np.sqrt(width) for each in (fit, test)]
    known, other = (each.astype(np.float64) for each in scaled)
    targets = np.eye(3)[labels]
    weights = np.linalg.solve(
        known.T @ known + 0.01 * len(fit) * np.eye(width), known.T @ (targets - targets.mean(axis=0))
    )
    expected = float(((other @ weights + targets.mean(axis=0)).argmax(axis=1) == wanted).mean())
    assert ridge_right(fit, labels, test, wanted, 0.01).mean() == pytest.approx(expected, abs=0.006)


def test_separable_and_meaningless_features() -> None:
    rng = np.random.default_rng(1)
    fit, labels = clusters(rng, 120, 0.1)
    test, wanted = clusters(rng, 300, 0.1)
    assert ridge_right(fit, labels, test, wanted).mean() == 1.0
    noise = rng.normal(size=(120, 5)).astype(np.float32), rng.normal(size=(300, 5)).astype(np.float32)
    assert ridge_right(noise[0], labels, noise[1], wanted).mean() == pytest.approx(1 / 3, abs=0.09)


def test_entries_that_never_change_are_left_out() -> None:
    rng = np.random.default_rng(2)
    fit, labels = clusters(rng, 60, 0.1)
    test, wanted = clusters(rng, 60, 0.1)
    dead = np.full((60, 3), 4.0, np.float32)
    loud = dead + rng.normal(size=(60, 3)).astype(np.float32) * 1e6  # silent while fitting, anything afterwards
    assert ridge_right(np.hstack([fit, dead]), labels, np.hstack([test, loud]), wanted).mean() == 1.0


def test_plasticity_is_clipped_and_a_mean_over_tasks() -> None:
    assert plasticity([0.5, 0.8], [0.5, 0.8]) == 1.0
    assert plasticity([0.9], [0.6]) == 1.0  # training made it worse: nothing was to be gained
    assert plasticity([0.4, 0.9], [0.8, 0.9]) == pytest.approx(0.75)
    assert plasticity([0.0], [0.0]) == 1.0


def test_summaries() -> None:
    assert harmonic_mean(1.0, 0.5) == pytest.approx(2 / 3) and harmonic_mean(0.0, 0.0) == 0.0
    figures = cut_figures({"stability": [0.9, 0.8, 1.0], "plasticity": [1.0, 1.0, 1.0], "before": 0.5, "after": 0.6})
    assert figures["memory_stability"] == 0.9 and figures["learning_plasticity_deviation"] == 0.0
    assert figures["memory_stability_deviation"] == pytest.approx(np.sqrt(0.02))
    assert figures["generalizability"] == pytest.approx(1.8 / 1.9) and figures["probe_accuracy_after"] == 0.6


def test_rank_correlation() -> None:
    values = [0.9, 0.9, 0.7, 0.8, 0.2, 0.1, 0.15]
    ranks, places = np.array([6.5, 6.5, 4, 5, 3, 1, 2]) - 4, np.arange(-3, 4)
    assert rank_correlation(values) == pytest.approx(places @ ranks / np.sqrt((places @ places) * (ranks @ ranks)))
    assert rank_correlation([3.0, 2.0, 1.0]) == pytest.approx(-1.0)
    assert rank_correlation([1.0, 1.0, 1.0]) is None and rank_correlation([1.0, 0.5]) is None
