"""Running statistics against the batch computation, and the classifier that follows from them."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lightcl_edge.learning.strategies.statistics import (
    SEPARATION,
    ClassStatistics,
    discriminant_rows,
    soften,
    solve_in_place,
)

SIZE, ROWS = 7, 5


def batch_statistics(values, labels):
    """Textbook: all samples at once, float64."""
    means = np.zeros((ROWS, SIZE))
    scatter = np.zeros((SIZE, SIZE))
    for row in np.unique(labels):
        part = values[labels == row].astype(np.float64)
        means[row] = part.mean(axis=0)
        scatter += (part - means[row]).T @ (part - means[row])
    return means, scatter


def samples(seed, count):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, ROWS, count)
    return (rng.normal(size=(count, SIZE)) * 3 + labels[:, None] + 100).astype(np.float32), labels


@settings(deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 60), st.lists(st.integers(0, 60), max_size=6))
def test_any_parts_give_the_statistics_of_all(seed, count, cuts):
    values, labels = samples(seed, count)
    statistics = ClassStatistics(ROWS, SIZE)
    edges = sorted({0, count, *(min(cut, count) for cut in cuts)})
    for start, end in pairwise(edges):
        statistics.add(values[start:end], labels[start:end])
    means, scatter = batch_statistics(values, labels)
    assert (statistics.counts == np.bincount(labels, minlength=ROWS)).all() and statistics.scattered == count
    assert np.allclose(statistics.means, means, rtol=1e-12)
    assert np.allclose(statistics.scatter, scatter, rtol=1e-9, atol=1e-7)


def test_a_large_matrix_is_summed_in_columns():
    rng = np.random.default_rng(0)
    values, labels = rng.normal(size=(50, 300)).astype(np.float32), rng.integers(0, 2, 50)
    statistics = ClassStatistics(2, 300)
    statistics.add(values, labels)
    centred = values - np.stack([values[labels == row].mean(axis=0, dtype=np.float64) for row in (0, 1)])[labels]
    assert np.allclose(statistics.scatter, centred.T @ centred, atol=1e-9)


def test_saved_and_read_again():
    values, labels = samples(1, 40)
    statistics = ClassStatistics(ROWS + 3, SIZE)
    statistics.add(values, labels)
    again = ClassStatistics.from_tensors(statistics.tensors(), ROWS + 3)
    assert (again.means == statistics.means).all() and (again.counts == statistics.counts).all()
    assert np.allclose(again.scatter, statistics.scatter, rtol=1e-6) and again.scattered == 40
    assert (again.scatter == again.scatter.T).all()


def test_the_trace_alone():
    values, labels = samples(2, 30)
    full, trace = ClassStatistics(ROWS, SIZE), ClassStatistics(ROWS, SIZE, full=False)
    for part in (slice(0, 11), slice(11, 30)):
        full.add(values[part], labels[part]), trace.add(values[part], labels[part])
    assert np.isclose(np.trace(full.scatter), trace.scatter[0, 0]) and np.isclose(full.variance(), trace.variance())
    assert ClassStatistics.from_tensors(trace.tensors(), ROWS).scatter.shape == (1, 1)


def test_rows_are_log_posteriors_of_gaussians():
    """Differences of logits are those of log densities with the shared covariance."""
    values, labels = samples(3, 80)
    statistics = ClassStatistics(ROWS, SIZE)
    statistics.add(values, labels)
    covariance = statistics.covariance(0.2)
    weights, biases = discriminant_rows(statistics.means, covariance.copy())
    logits = values.astype(np.float64) @ weights.T + biases
    shift = values[:, None].astype(np.float64) - statistics.means[None]
    density = -0.5 * np.einsum("nkd,de,nke->nk", shift, np.linalg.inv(covariance.astype(np.float64)), shift)
    assert np.allclose(logits - logits[:, :1], density - density[:, :1], atol=1e-2)


def test_one_image_is_enough():
    statistics = ClassStatistics(2, SIZE)
    statistics.add(np.ones((1, SIZE), np.float32), np.array([0]))
    weights, biases = discriminant_rows(statistics.means[:1], statistics.covariance())
    assert np.isfinite(weights).all() and np.isfinite(biases).all()


def test_forgetting_erases_mean_count_and_covariance():
    values, labels = samples(4, 40)
    statistics = ClassStatistics(ROWS, SIZE)
    statistics.add(values, labels)
    means = statistics.means.copy()
    statistics.forget(1)
    assert (statistics.means[:4] == means[[0, 2, 3, 4]]).all() and not statistics.means[4].any()
    assert statistics.scattered == 0 and not statistics.scatter.any()


def test_softening_sets_the_distance_and_keeps_the_order():
    values, labels = samples(5, 80)
    values = values - np.float32(100)
    statistics = ClassStatistics(ROWS, SIZE)
    statistics.add(values, labels)
    statistics.scatter *= 1e-3
    weights, biases = discriminant_rows(statistics.means, statistics.covariance())
    soft, low = soften(weights, biases, statistics.means)
    assert ((values @ soft.T + low).argmax(axis=1) == (values @ weights.T + biases).argmax(axis=1)).all()
    pairs = [(statistics.means[a] - statistics.means[b]) @ (soft[a] - soft[b]) for a in range(ROWS) for b in range(a)]
    assert np.isclose(np.mean(pairs), SEPARATION, rtol=1e-3)
    assert np.isclose(statistics.squared_length(), _mean_square(statistics), rtol=1e-9)


def _mean_square(statistics):
    lengths = np.square(statistics.means).sum(axis=1)
    return (lengths * statistics.counts).sum() / 80 + np.trace(statistics.scatter) / 80


@pytest.mark.parametrize("size", [1, 127, 128, 300])
def test_a_system_is_solved_in_the_memory_of_its_matrix(size):
    rng = np.random.default_rng(size)
    samples = rng.normal(size=(size + 5, size))
    matrix, right = samples.T @ samples + 0.1 * np.eye(size), rng.normal(size=(size, 3))
    expected = np.linalg.solve(matrix, right)
    assert np.allclose(solve_in_place(matrix, right), expected, rtol=1e-8, atol=1e-10)
