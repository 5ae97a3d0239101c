"""The novelty score against the direct formula with ``d`` times ``d`` matrices."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightcl_edge.inference.calibration import auroc
from lightcl_edge.inference.learned_classifier import novelty
from lightcl_edge.learning.closed_form.analysis import analysis_rows, mean_variance
from lightcl_edge.learning.closed_form.novelty import fit_novelty
from normal_samples import SIZE, pooled_of, samples


def direct(pooled, x):
    """Relative Mahalanobis distance with explicit inverses."""
    total = pooled.samples
    size = pooled.means.shape[1]
    shrinkage = 2 * size / (2 * size + total)
    within = (1 - shrinkage) * pooled.scatter / total + shrinkage * mean_variance(pooled) * np.eye(size)
    middle = pooled.means.mean(axis=0)
    apart = pooled.means - middle
    everything = within + apart.T @ apart / len(apart)

    def squared(shift, matrix):
        return np.einsum("nd,de,ne->n", shift, np.linalg.inv(matrix), shift)

    nearest = np.min([squared(x - mean, within) for mean in pooled.means], axis=0)
    return nearest - squared(x - middle, everything)


@given(st.integers(0, 1000), st.lists(st.integers(1, 30), min_size=1, max_size=6))
def test_it_is_the_direct_formula(seed, counts):
    pooled = pooled_of(*samples(counts, seed))
    new = np.random.default_rng(seed).normal(size=(20, SIZE)) * 3
    expected = direct(pooled, new)
    rows = analysis_rows(pooled)
    found = novelty(fit_novelty(pooled.means, rows.weights), new @ rows.weights.T)
    assert np.allclose(found, expected, rtol=1e-6, atol=1e-6 * max(1.0, np.abs(expected).max()))


def test_what_was_never_seen_scores_higher():
    values, labels = samples([60, 60, 60, 60], size=32)
    known = labels < 3
    train = known & (np.arange(len(labels)) % 2 == 0)
    pooled = pooled_of(values[train], labels[train])
    rows = analysis_rows(pooled)
    terms = fit_novelty(pooled.means, rows.weights)
    seen, strange = (novelty(terms, values[part] @ rows.weights.T) for part in (known & ~train, ~known))
    assert auroc(seen, strange) > 0.6


def test_a_single_class_has_nothing_to_compare_with():
    pooled = pooled_of(*samples([9]))
    weights = analysis_rows(pooled).weights
    found = novelty(fit_novelty(pooled.means, weights), np.ones((2, SIZE)) @ weights.T)
    assert found == pytest.approx(np.zeros(2), abs=1e-6)
