"""The classifier of a generation against scipy and plain formulas, and what it refuses."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import softmax
from scipy.stats import multivariate_normal

from hand_made_classifier import hand_made
from lightcl_edge.errors import StateError
from lightcl_edge.files.tensors import read_tensors, write_tensors
from lightcl_edge.inference.learned_classifier import LearnedClassifier

SIZE = 6


def drawn(classes, seed, **changes):
    """A classifier of classes far from the origin, as normalised taps are, with the truth it was made from."""
    rng = np.random.default_rng(seed)
    means = 3.0 + rng.normal(0, 1, (classes, SIZE))
    factor = rng.normal(0, 0.4, (SIZE, SIZE))
    within = factor @ factor.T + 0.05 * np.eye(SIZE)
    held_out = np.concatenate([rng.multivariate_normal(mean, within, 60) for mean in means]).astype(np.float32)
    made = hand_made(means, within, held_out=held_out, **changes)
    return made, means, within, held_out


@settings(max_examples=25)
@given(st.integers(2, 5), st.integers(0, 10_000))
def test_novelty_is_the_relative_mahalanobis_distance(classes, seed):
    made, means, within, taps = drawn(classes, seed)
    overall = means.mean(axis=0)
    between = (means - overall).T @ (means - overall) / classes
    logs = np.stack([multivariate_normal(mean, within).logpdf(taps) for mean in means])
    # Distances from log densities; the constants are those of scipy at the mean.
    own = 2 * (multivariate_normal(means[0], within).logpdf(means[0]) - logs.max(axis=0))
    all_samples = multivariate_normal(overall, within + between)
    expected = own - 2 * (all_samples.logpdf(overall) - all_samples.logpdf(taps))
    assert made.novelty(taps) == pytest.approx(expected, rel=1e-3, abs=2e-3)  # the weights are float32


@settings(max_examples=25)
@given(st.integers(2, 5), st.integers(0, 10_000))
def test_probabilities_are_posteriors_of_normal_classes(classes, seed):
    made, means, within, taps = drawn(classes, seed)
    logs = np.stack([multivariate_normal(mean, within).logpdf(taps) for mean in means], axis=1)
    assert made.probabilities(taps, None) == pytest.approx(softmax(logs, axis=1), abs=2e-3)


def test_shares_join_closed_form_and_head():
    made, _, _, taps = drawn(3, 0)
    head_logits = np.random.default_rng(1).normal(size=(len(taps), 8)).astype(np.float32)
    both = drawn(3, 0, head_share=0.5, closed_form_share=0.25, temperature=2.0)[0]
    expected = 0.25 * made.logits(taps, None) + 0.5 * head_logits[:, :3]
    assert both.needs_head and not made.needs_head
    assert both.logits(taps, head_logits) == pytest.approx(expected)
    assert both.probabilities(taps, head_logits) == pytest.approx(softmax(expected / 2.0, axis=1), abs=1e-6)
    assert both.novelty(taps) == pytest.approx(made.novelty(taps))  # shares have no influence on what is new


def test_without_rows_the_head_decides_and_nothing_is_unknown():
    made = LearnedClassifier.of_head(2, SIZE)
    taps, head_logits = np.ones((3, SIZE), np.float32), np.arange(12, dtype=np.float32).reshape(3, 4)
    assert made.logits(taps, head_logits) == pytest.approx(head_logits[:, :2])
    assert made.novelty(taps) is None and made.threshold() is None
    assert not made.is_unknown(np.array([1e9])).any()


@pytest.mark.parametrize("rate", [0.0, 0.015, 0.05, 0.5, 1.0])
def test_threshold_gives_the_false_alarms_asked_for(rate):
    made, _, _, held_out = drawn(3, 2)
    share = made.is_unknown(made.novelty(held_out), rate).mean()
    assert share == pytest.approx(rate, abs=0.012)


def test_far_samples_are_unknown():
    made, means, *_ = drawn(3, 3)
    far = (means.mean(axis=0) + 30 * np.random.default_rng(0).normal(size=(20, SIZE))).astype(np.float32)
    assert made.is_unknown(made.novelty(far)).mean() > 0.9


def test_tensors_come_back_from_a_file(tmp_path):
    made, _, _, taps = drawn(4, 4, head_share=0.5, temperature=1.5)
    write_tensors(tmp_path / "classifier.safetensors", made.tensors())
    found = LearnedClassifier.from_tensors(read_tensors(tmp_path / "classifier.safetensors", StateError), 4, SIZE)
    head_logits = np.zeros((len(taps), 4), np.float32)
    assert np.array_equal(found.probabilities(taps, head_logits), made.probabilities(taps, head_logits))
    assert np.array_equal(found.novelty(taps), made.novelty(taps))
    assert found.threshold(0.01) == made.threshold(0.01)


def test_a_classifier_without_rows_comes_back():
    tensors = LearnedClassifier.of_head(2, SIZE).tensors()
    assert not LearnedClassifier.from_tensors(tensors, 2, SIZE).tells_unknown


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("weights", np.zeros((2, SIZE), np.float32), r"weights is float32 \(2, 6\), expected float32 \(3, 6\)"),
        ("weights", np.zeros((3, SIZE)), "weights is float64"),
        ("biases", np.array([0, np.nan, 0], np.float32), "biases holds NaN"),
        ("temperature", np.array(0, np.float32), "temperature is 0, expected a number above 0"),
        ("temperature", np.ones(1, np.float32), r"temperature is float32 \(1,\)"),
        ("novelty.matrix", np.zeros((2, 2)), "novelty.matrix is"),
        ("novelty.own", np.full(3, 1e31), "novelty.own holds"),
        ("held_out_scores", np.linspace(1, 0, 101, dtype=np.float32), "held_out_scores fall"),
        ("held_out_scores", np.zeros(7, np.float32), r"held_out_scores is float32 \(7,\)"),
        ("more", np.zeros(7, np.float32), "it holds"),
        ("weights", None, "it holds"),
        ("held_out_scores", None, "it holds"),
    ],
)
def test_refuses_tensors_that_do_not_fit(name, value, message):
    tensors = drawn(3, 5)[0].tensors()
    tensors[name] = value
    if value is None:
        del tensors[name]
    with pytest.raises(StateError, match=message) as caught:
        LearnedClassifier.from_tensors(tensors, 3, SIZE)
    assert "lightcl-edge rollback" in str(caught.value)
