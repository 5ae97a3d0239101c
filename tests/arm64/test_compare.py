"""The comparisons can fail, and fail for what they should."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from arm64.compare import Drift, answers_apart, learned_distance, relative_rms, share_different

ARRAYS = st.lists(st.floats(-100, 100, width=32), min_size=1, max_size=20).map(lambda v: np.array(v, np.float32))


@given(ARRAYS)
def test_equal_is_zero_and_another_shape_is_infinitely_far(array):
    assert relative_rms(array, array) == 0 and share_different(array, array) == 0
    assert relative_rms(array, array[None]) == np.inf and share_different(array, array[None]) == 1


@given(ARRAYS, st.floats(0, 2))
def test_relative_distance_does_not_know_the_scale(array, factor):
    if np.abs(array).max() > 1e-3:
        assert relative_rms(array * (1 + factor), array.astype(np.float64)) == pytest.approx(factor, rel=1e-4, abs=1e-6)


def test_learned_distance_is_in_units_of_learning():
    start = {"w": np.zeros(4, np.float32), "b": np.ones(2, np.float32)}
    expected = {"w": np.full(4, 0.1, np.float32), "b": np.ones(2, np.float32)}
    found = {"w": np.full(4, 0.11, np.float32), "b": np.ones(2, np.float32)}
    assert learned_distance(expected, expected, start) == 0
    assert learned_distance(found, expected, start) == pytest.approx(0.1, rel=1e-5)
    assert learned_distance(start, expected, start) == pytest.approx(1.0)


def test_nothing_learned_or_other_tensors_are_infinitely_far():
    some = {"w": np.ones(2, np.float32)}
    assert learned_distance(some, some, some) == np.inf
    assert learned_distance({}, some, {"w": np.zeros(2, np.float32)}) == np.inf


def answer(**probabilities):
    ordered = sorted(probabilities.items(), key=lambda pair: -pair[1])
    return {"top": [{"class": name, "probability": value} for name, value in ordered]}


def test_answers():
    sure, other = answer(cat=0.9, dog=0.1), answer(dog=0.7, cat=0.3)
    assert answers_apart([sure, sure], [sure, sure], 0.01) == (0, 0.0)
    count, largest = answers_apart([other, sure], [sure, sure], 0.01)
    assert count == 1 and largest == pytest.approx(0.6)
    undecided = answer(cat=0.502, dog=0.498)
    assert answers_apart([answer(cat=0.499, dog=0.501)], [undecided], 0.01)[0] == 0
    with pytest.raises(ValueError, match="zip"):
        answers_apart([sure], [sure, sure], 0.01)


@pytest.mark.parametrize(
    ("found", "allowed", "passes"),
    [(0.0, 0.0, True), (1.0, 0.5, False), (float("nan"), 0.5, False), (np.inf, 1e9, False), (7.0, None, True)],
)
def test_what_passes(found, allowed, passes):
    drift = Drift("x", found, allowed, "steps")
    assert drift.passes is passes and drift.document()["passes"] is passes
