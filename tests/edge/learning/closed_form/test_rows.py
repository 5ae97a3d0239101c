"""Rows in closed form against textbook formulas on all samples at once."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightcl_edge.data.sums import Pooled, Sums
from lightcl_edge.errors import StateError
from lightcl_edge.learning.closed_form.analysis import analysis_rows
from lightcl_edge.learning.closed_form.nearest_mean import nearest_mean_rows
from lightcl_edge.learning.closed_form.shrinkage import mean_variance
from normal_samples import SIZE, pooled_of, samples


@given(st.integers(0, 1000), st.lists(st.integers(1, 40), min_size=2, max_size=5))
def test_rows_are_those_of_the_textbook(seed, counts):
    values, labels = samples(counts, seed)
    pooled, total = pooled_of(values, labels), len(labels)
    scatter, freedom = pooled.scatter.copy(), max(1, total - len(counts))
    shrinkage, variance = 2 * SIZE / (2 * SIZE + total), mean_variance(pooled)
    scale = (1 - shrinkage) / total
    inverse = np.linalg.inv(scale * scatter + shrinkage * variance * np.eye(SIZE))
    length = np.trace(inverse @ scatter) / freedom
    length /= 1 - scale * length
    found = analysis_rows(pooled)
    assert np.allclose(found.weights, pooled.means @ inverse, rtol=1e-6, atol=1e-9)
    expected = -0.5 * np.einsum("kd,kd->k", found.weights, pooled.means) + 0.5 * length / pooled.counts
    assert np.allclose(found.biases, expected, rtol=1e-6, atol=1e-6 * np.abs(expected).max())


def test_sums_give_what_all_samples_give():
    values, labels = samples([20, 3, 9])
    sums = Sums(SIZE)
    for row in (2, 0, 1):
        sums = sums.add(f"c{row}", values[labels == row].astype(np.float32))
    found = analysis_rows(sums.pooled(["c0", "c1", "c2"]))
    expected = analysis_rows(pooled_of(values, labels))
    assert np.allclose(found.weights, expected.weights, rtol=1e-4)


def test_the_length_of_a_new_sample_is_foreseen():
    """Half of the samples make the analysis; the others are as far from their means as it says."""
    size = 64
    values, labels = samples([60, 60], size=size)
    first = np.arange(len(labels)) % 2 == 0
    pooled = pooled_of(values[first], labels[first])
    scatter, total, variance = pooled.scatter.copy(), int(first.sum()), mean_variance(pooled)
    shrinkage = 2 * size / (2 * size + total)
    inverse = np.linalg.inv((1 - shrinkage) / total * scatter + shrinkage * variance * np.eye(size))
    rows = analysis_rows(pooled)
    foreseen = (rows.biases + 0.5 * np.einsum("kd,kd->k", rows.weights, pooled.means)) * 2 * pooled.counts
    true = pooled_of(values, labels)
    shift = values[~first] - true.means[labels[~first]]
    assert foreseen == pytest.approx(np.einsum("nd,de,ne->n", shift, inverse, shift).mean(), rel=0.15)


def test_one_image_a_class_makes_the_nearest_mean():
    values, labels = samples([1, 1, 1])
    analysis, nearest = (fit(pooled_of(values, labels)) for fit in (analysis_rows, nearest_mean_rows))
    new = np.random.default_rng(1).normal(size=(50, SIZE))
    means = values
    expected = np.square(new[:, None] - means).sum(axis=2).argmin(axis=1)
    for rows in (analysis, nearest):
        assert ((new @ rows.weights.T + rows.biases).argmax(axis=1) == expected).all()


@pytest.mark.parametrize("fit", [analysis_rows, nearest_mean_rows])
def test_a_single_image_beside_many_is_not_swallowed(fit):
    """As a camera's features are: hundreds of directions, classes not far apart."""
    values, labels = samples([60, 60, 60], size=256, apart=0.12)
    few = np.concatenate([np.arange(80), [120]])
    chosen = np.flatnonzero((labels < 2) & (np.arange(180) % 60 < 40))
    few = np.concatenate([chosen, [120]])
    rows = fit(pooled_of(values[few], labels[few]))
    rest = np.setdiff1d(np.arange(180), few)
    right = (values[rest] @ rows.weights.T + rows.biases).argmax(axis=1) == labels[rest]
    shares = [right[labels[rest] == row].mean() for row in range(3)]
    assert shares[2] > 1 / 3 and min(shares) > 1 / 3, shares


def test_equal_images_and_none_at_all_stay_finite():
    same = Pooled(np.array([3, 1]), np.array([[1.0, 0, 0], [0, 1, 0]]), np.zeros((3, 3)))
    for fit in (analysis_rows, nearest_mean_rows):
        rows = fit(Pooled(same.counts, same.means, same.scatter.copy()))
        assert np.isfinite(rows.weights).all() and np.isfinite(rows.biases).all()
        nothing = fit(Pooled(np.zeros(0, np.int64), np.zeros((0, 3)), np.zeros((3, 3))))
        assert nothing.weights.shape == (0, 3) and nothing.biases.shape == (0,)


def test_sums_that_are_none_are_refused():
    damaged = Pooled(np.array([900, 900]), np.eye(2), np.array([[1.0, 9e5], [9e5, 1.0]]))
    with pytest.raises(StateError, match="roll back"):
        analysis_rows(damaged)
