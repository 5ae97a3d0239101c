"""The temperature against a fine grid, and its behaviour with few held-out samples."""

import numpy as np
import pytest

from lightcl_edge.learning.closed_form.temperature import (
    SEPARATION,
    fit_temperature,
    negative_log_likelihood,
    starting_temperature,
)


def drawn(count, temperature, seed=0, classes=4):
    """Logits that are ``temperature`` times too large, and labels drawn from what they would mean if they were not."""
    rng = np.random.default_rng(seed)
    honest = rng.normal(size=(count, classes)) * 2
    shares = np.exp(honest) / np.exp(honest).sum(axis=1, keepdims=True)
    labels = np.array([rng.choice(classes, p=row) for row in shares])
    return honest * temperature, labels


@pytest.mark.parametrize("temperature", [0.2, 1.0, 7.0, 40.0])
def test_many_samples_find_the_true_one(temperature):
    assert fit_temperature(*drawn(4000, temperature), start=1.0) == pytest.approx(temperature, rel=0.1)


def test_it_is_the_minimum():
    logits, labels = drawn(60, 3.0)
    found = fit_temperature(logits, labels, 1.0)
    counts = np.bincount(labels, minlength=4)
    weights = 60 / 4 / counts[labels]

    def loss(temperature):
        return weights @ negative_log_likelihood(logits / temperature, labels) + 2 * np.log(temperature) ** 2

    grid = np.exp(np.linspace(-3, 3, 2001))
    assert loss(found) <= min(map(loss, grid)) + 1e-6


def test_few_samples_stay_near_the_start():
    assert fit_temperature(np.zeros((0, 3)), np.zeros(0, np.int64), 2.5) == 2.5
    sure_and_right = fit_temperature(np.array([[9.0, 0.0]]), np.array([0]), 2.0)
    sure_and_wrong = fit_temperature(np.array([[9.0, 0.0]]), np.array([1]), 2.0)
    assert 0.5 < sure_and_right < 2.0 < sure_and_wrong < 8.0


def test_a_large_class_does_not_decide_alone():
    """A hundred samples of a class that are right and sure, four of another that are wrong and sure."""
    logits = np.concatenate([np.tile([4.0, 0.0], (100, 1)), np.tile([4.0, 0.0], (4, 1))])
    labels = np.repeat([0, 1], [100, 4])
    assert fit_temperature(logits, labels, 1.0) > 5.0


def test_the_start_sets_the_distance_of_the_means():
    rng = np.random.default_rng(0)
    means = rng.normal(size=(5, 9))
    start = starting_temperature(means, 3.0 * means)
    pairs = [np.square(means[a] - means[b]).sum() * 3.0 for a in range(5) for b in range(a)]
    assert np.mean(pairs) / start == pytest.approx(SEPARATION)
    assert starting_temperature(means[:1], means[:1]) > 0
