"""The novelty score against the direct formula."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lightcl_edge.inference.calibration import auroc
from lightcl_edge.inference.learned_classifier import novelty
from lightcl_edge.learning.closed_form.analysis import analysis_rows
from lightcl_edge.learning.closed_form.nearest_mean import nearest_mean_rows
from lightcl_edge.learning.closed_form.novelty import background, fit_novelty, left_out_novelty
from lightcl_edge.learning.closed_form.shrinkage import mean_variance
from lightcl_edge.learning.strategies.slda import Ncm
from normal_samples import SIZE, pooled_of, samples


def scores_of(pooled, x, fit=analysis_rows):
    behind = background(pooled, one_variance=fit is nearest_mean_rows)
    rows = fit(pooled)
    terms = fit_novelty(pooled.means, rows.weights, rows.precision, behind.matrix)
    return novelty(terms, x.astype(np.float32), x @ rows.weights.T)


def direct(values, labels, x):
    """Both distances with explicit inverses, from the samples themselves."""
    pooled, total, size = pooled_of(values, labels), *values.shape
    shrunk = 2 * size / (2 * size + total)
    variance = mean_variance(pooled)
    within = (1 - shrunk) * pooled.scatter / total + shrunk * variance * np.eye(size)
    whole = np.cov(values.T, bias=True)
    whole = (1 - shrunk) * whole + shrunk * max(variance, np.trace(whole) / size) * np.eye(size)
    share = (1 - shrunk**2 / 3) * (1 - 1 / (4 * len(pooled.means) ** 2))

    def squared(shift, matrix):
        return np.einsum("nd,de,ne->n", shift, np.linalg.inv(matrix), shift)

    nearest = np.min([squared(x - mean, within) for mean in pooled.means], axis=0)
    return nearest - share * squared(x - pooled.means.mean(axis=0), whole)


@given(
    st.integers(0, 1000), st.lists(st.integers(1, 30), min_size=1, max_size=6).filter(lambda counts: sum(counts) > 1)
)
def test_it_is_the_direct_formula(seed, counts):
    values, labels = samples(counts, seed)
    new = np.random.default_rng(seed).normal(size=(20, SIZE)) * 3
    expected = direct(values, labels, new)
    assert np.allclose(
        scores_of(pooled_of(values, labels), new), expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max()
    )


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 1000),
    counts=st.lists(st.integers(2, 40), min_size=1, max_size=4).filter(lambda counts: sum(counts) > 2),
    fit=st.sampled_from([analysis_rows, nearest_mean_rows]),
)
def test_left_out_it_is_learning_without_the_sample(seed, counts, fit):
    """With the shrinkage of all samples, which one sample hardly changes."""
    values, labels = samples(counts, seed)
    pooled, whole = pooled_of(values, labels), pooled_of(values, labels)
    behind = background(whole, one_variance=fit is nearest_mean_rows)
    rows = fit(whole)
    found = left_out_novelty(rows, pooled, behind, values.astype(np.float32), labels)

    def matrix(inverse):
        return np.linalg.inv(inverse * np.eye(SIZE) if isinstance(inverse, float) else inverse)

    for at in range(0, len(labels), 7):
        others = np.arange(len(labels)) != at
        left = pooled_of(values[others], labels[others])
        within = matrix(rows.precision) - rows.sample_weight * (pooled.scatter - left.scatter)
        gone = len(labels) * (np.cov(values.T, bias=True)) - (len(labels) - 1) * np.cov(values[others].T, bias=True)
        around = matrix(behind.matrix / behind.share) - behind.sample_weight * gone
        shift, centred = values[at] - left.means, values[at] - left.means.mean(axis=0)
        nearest = np.einsum("kd,kd->k", shift @ np.linalg.inv(within), shift).min()
        expected = nearest - behind.share * centred @ np.linalg.inv(around) @ centred
        np.testing.assert_allclose(found[at], expected, rtol=1e-3, atol=1e-3 * nearest)


@pytest.mark.parametrize("fit", [analysis_rows, nearest_mean_rows])
@pytest.mark.parametrize("classes", [1, 3])
def test_what_was_never_seen_scores_higher(fit, classes):
    values, labels = samples([60, 60, 60, 60], size=32)
    known = labels < classes
    train = known & (np.arange(len(labels)) % 2 == 0)
    scores = scores_of(pooled_of(values[train], labels[train]), values, fit)
    assert auroc(scores[known & ~train], scores[~known]) > 0.6


@pytest.mark.parametrize("fit", [analysis_rows, nearest_mean_rows])
def test_directions_in_which_samples_hardly_differ_do_not_turn_the_score_round(fit):
    values, labels = samples([200, 200, 200, 200], size=32)
    values = values * np.geomspace(1.0, 0.01, 32)  # as the taps of real networks
    known = labels < 3
    train = known & (np.arange(len(labels)) % 2 == 0)
    scores = scores_of(pooled_of(values[train], labels[train]), values, fit)
    assert auroc(scores[known & ~train], scores[~known]) > 0.6


def test_the_strategy_of_the_nearest_mean_is_known_by_its_rows():
    assert Ncm.fit is nearest_mean_rows  # by this ``ClosedForm.of`` tells that there is one variance


def test_one_image_of_one_class_is_enough():
    values, labels = samples([1], size=32)
    near, far = scores_of(pooled_of(values, labels), np.concatenate([values + 0.01, values + 3.0]))
    assert near < far
