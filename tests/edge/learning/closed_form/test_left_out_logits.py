"""Logits of samples that the classifier has not learned, against learning anew without each."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lightcl_edge.data.sums import Pooled, Sums
from lightcl_edge.learning.closed_form.analysis import analysis_rows
from lightcl_edge.learning.closed_form.left_out import ENOUGH_HELD_OUT, learned_samples, left_out_logits
from lightcl_edge.learning.closed_form.nearest_mean import nearest_mean_rows
from lightcl_edge.learning.closed_form.temperature import negative_log_likelihood


def drawn(rng, counts, size):
    labels = np.repeat(np.arange(len(counts)), counts)
    taps = rng.normal(size=(len(labels), size)) + rng.normal(size=(len(counts), size))[labels]
    return taps.astype(np.float32), labels


def pooled_of(taps, labels, classes):
    counts = np.bincount(labels, minlength=classes)
    means = np.stack([taps[labels == row].mean(axis=0, dtype=np.float64) for row in range(classes)])
    apart = taps - means[labels]
    return Pooled(counts, means, apart.T @ apart)


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    counts=st.lists(st.integers(2, 12), min_size=2, max_size=4),
    size=st.integers(1, 9),
    fit=st.sampled_from([analysis_rows, nearest_mean_rows]),
)
def test_it_is_learning_without_the_sample(seed, counts, size, fit):
    """With the shrinkage and the noise of all samples, which one sample hardly changes."""
    taps, labels = drawn(np.random.default_rng(seed), counts, size)
    pooled = pooled_of(taps, labels, len(counts))
    rows = fit(Pooled(pooled.counts, pooled.means, pooled.scatter.copy()))
    found = left_out_logits(rows, pooled, taps, labels)
    covariance = np.linalg.inv(rows.precision * np.eye(size) if isinstance(rows.precision, float) else rows.precision)
    for at in range(len(labels)):
        others = np.arange(len(labels)) != at
        left = pooled_of(taps[others], labels[others], len(counts))
        changed = covariance - rows.sample_weight * (pooled.scatter - left.scatter)
        weights = left.means @ np.linalg.inv(changed)
        expected = weights @ taps[at] + 0.5 * (rows.noise - np.einsum("kd,kd->k", weights, left.means))
        np.testing.assert_allclose(found[at], expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())


def test_which_samples_are_looked_at():
    rng = np.random.default_rng(0)
    sums, names = Sums(60), [f"c{number}" for number in range(20)]
    for number, name in enumerate(names):
        sums = sums.add(name, rng.normal(size=(5 if number == 3 else 80 if number == 4 else 30, 60)).astype(np.float32))
    taps, labels = learned_samples(sums, names, 0)
    assert taps.shape == (16 * 24, 60) and {3, 4}.isdisjoint(labels) and len(set(labels)) == 16
    kept = sums.classes["c0"].read().values.astype(np.float32)
    assert labels[0] == 0 and (taps[0] == kept[0]).all() and (taps[23] == kept[-1]).all()
    assert len(learned_samples(sums, names, ENOUGH_HELD_OUT)[0]) == 0
    assert len(learned_samples(Sums(60), ["none"], 0)[0]) == 0


@pytest.mark.parametrize("count", [40, 100])
def test_they_are_as_sure_as_new_samples(count):
    """In many directions the classifier is far surer of what it learned than of what is new."""
    rng, size, classes = np.random.default_rng(1), 200, 5
    centres = 0.2 * rng.normal(size=(classes, size))

    def samples(each):
        labels = np.repeat(np.arange(classes), each)
        return (rng.normal(size=(len(labels), size)) + centres[labels]).astype(np.float32), labels

    taps, labels = samples(count)
    pooled = pooled_of(taps, labels, classes)
    rows = analysis_rows(Pooled(pooled.counts, pooled.means, pooled.scatter.copy()))

    def loss(logits, truth):
        return float(negative_log_likelihood(logits, truth).mean())

    new, truth = samples(400)
    expected = loss(new @ rows.weights.T + rows.biases, truth)
    left = loss(left_out_logits(rows, pooled, taps, labels), labels)
    learned = loss(taps @ rows.weights.T + rows.biases, labels)
    assert abs(left - expected) < 0.4 * abs(learned - expected)
