"""Quantiles of scores against scipy, and how often a new score lies above them."""

import numpy as np
import pytest
from scipy import stats

from lightcl_edge.learning.closed_form.thresholds import (
    ENOUGH_SCORES,
    FEWEST_SCORES,
    _normal,
    _student,
    alike_many,
    score_quantiles,
)

LEVELS = np.linspace(0, 1, 101)


def test_quantiles_of_distributions_are_those_of_scipy():
    for level in (0.001, 0.05, 0.5, 0.95, 0.99):
        assert _normal(level) == pytest.approx(stats.norm.ppf(level), abs=1e-9)
    for freedom in (3, 5, 18):
        for level in (0.1, 0.5, 0.9, 0.95):
            assert _student(level, freedom) == pytest.approx(stats.t.ppf(level, freedom), rel=0.02, abs=1e-9)


def test_many_scores_have_their_own_quantiles():
    scores = np.random.default_rng(0).gamma(2.0, size=200)
    expected = np.quantile(scores, LEVELS, method="weibull")
    assert score_quantiles(scores, 101) == pytest.approx(expected.astype(np.float32))


@pytest.mark.parametrize("number", [FEWEST_SCORES, 8, ENOUGH_SCORES - 1, ENOUGH_SCORES, 100])
def test_a_new_score_is_above_as_often_as_asked_for(number):
    rng = np.random.default_rng(number)
    above = []
    for _ in range(400):
        quantiles = score_quantiles(rng.normal(5.0, 2.0, number), 101)
        assert quantiles.shape == (101,) and (np.diff(quantiles) >= 0).all()
        above.append((rng.normal(5.0, 2.0, 50) > quantiles[95]).mean())
    assert 0.02 < np.mean(above) < 0.065


def test_too_few_scores_say_nothing():
    assert score_quantiles(np.arange(FEWEST_SCORES - 1.0), 101).shape == (0,)
    assert len(score_quantiles(np.zeros(FEWEST_SCORES), 101)) == 101  # all alike


def test_a_large_class_does_not_set_the_threshold_alone():
    labels = np.repeat([0, 1, 3], [20, 5, 6])
    assert np.bincount(labels[alike_many(labels)]).tolist() == [5, 5, 0, 5]
    assert np.bincount(alike_many(np.array([0, 0, 0, 0, 0, 1]))).sum() == 5
    assert len(alike_many(np.zeros(0, np.int64))) == 0
