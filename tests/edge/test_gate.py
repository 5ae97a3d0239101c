"""The gate's rules, one by one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightcl_edge import gate
from lightcl_edge.errors import RejectedError


@given(st.lists(st.integers(0, 4), min_size=1, max_size=300), st.integers(0, 1000))
def test_the_split_is_a_partition_with_every_class_to_train_on(labels, seed):
    rows = np.array(labels)
    train, held = gate.split_holdout(rows, np.random.default_rng(seed))
    assert sorted([*train, *held]) == list(range(len(rows)))
    assert set(rows[train]) == set(rows)
    counts = np.bincount(rows[held], minlength=5)
    assert counts.max() <= gate.HOLDOUT_PER_CLASS
    assert all(count == 0 for row, count in enumerate(counts) if (rows == row).sum() < gate.HOLDOUT_MINIMUM)


def test_a_full_class_keeps_its_newest_samples():
    holdout = gate.Holdout(np.zeros((0, 1), np.uint8), np.empty(0, np.int64))
    for value in range(30):
        holdout = holdout.extended(np.array([[value]], np.uint8), np.array([7]))
    assert holdout.features[:, 0].tolist() == list(range(10, 30))


def test_numbers_that_are_none_are_refused():
    good = {"w": np.zeros(2, np.float32)}
    fine, nan = np.zeros((1, 2), np.float32), np.full((1, 2), np.nan, np.float32)
    gate.refuse_broken(good, fine, 0.1)
    for parameters, logits, loss in (({"w": nan[0]}, fine, 0.1), (good, fine, float("inf")), (good, nan, 0.1)):
        with pytest.raises(RejectedError, match="not finite"):
            gate.refuse_broken(parameters, logits, loss)


def test_limits():
    gate.refuse_forgetting(0.9, 0.5, 20, 0.5)
    gate.refuse_forgetting(None, 0.0, 20, 0.0)
    gate.refuse_forgetting(1.0, 0.0, 20, 1.0)
    gate.refuse_harm(0.9, 0.7, 20)
    gate.refuse_harm(1.0, 0.0, 2)  # two samples may turn by chance
    with pytest.raises(RejectedError, match=r"from 90\.0% to 30\.0%"):
        gate.refuse_forgetting(0.9, 0.3, 20, 0.5)
    with pytest.raises(RejectedError, match="own classes fell"):
        gate.refuse_harm(0.9, 0.5, 20)


def test_accuracy_looks_at_known_rows_only():
    logits = np.array([[1.0, 0.0, 9.0], [0.0, 1.0, 9.0]], np.float32)
    assert gate.accuracy(logits, np.array([0, 1]), 2) == 1.0
    assert gate.accuracy(logits, np.array([0, 1]), 3) == 0.0
    assert gate.accuracy(logits[:0], np.array([], np.int64), 2) is None
