"""The gate's rules, one by one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lightcl_edge.data.held_out_samples import HOLDOUT_MINIMUM, HOLDOUT_PER_CLASS, HOLDOUT_SHARE, Holdout, split_holdout
from lightcl_edge.errors import RejectedError
from lightcl_edge.learning import doubts, gate, judging


def marked(count, seed=0):
    return np.random.default_rng(seed).integers(0, 2**64, count, np.uint64)


@settings(max_examples=40)
@given(st.lists(st.integers(0, 4), min_size=1, max_size=300), st.integers(0, 1000))
def test_the_split_is_a_partition_with_every_class_to_train_on(labels, seed):
    rows = np.array(labels)
    train, held = split_holdout(rows, marked(len(rows), seed), NOTHING)
    assert sorted([*train, *held]) == list(range(len(rows)))
    assert set(rows[train]) == set(rows)
    for size, count in zip(np.bincount(rows, minlength=5), np.bincount(rows[held], minlength=5), strict=True):
        tenth = min(HOLDOUT_PER_CLASS, max(1, int(HOLDOUT_SHARE * size + 0.5)))
        assert count == (tenth if size >= HOLDOUT_MINIMUM else 0)


@given(st.lists(st.integers(0, 9), min_size=1, max_size=60))
def test_copies_are_never_on_both_sides(kinds):
    marks, labels = marked(10)[kinds], np.zeros(len(kinds), np.int64)
    train, held = split_holdout(labels, marks, NOTHING)
    assert len(train) and not set(marks[train]) & set(marks[held]) and len(set(marks[held])) == len(held)


@settings(max_examples=60)
@given(st.integers(5, 120), st.integers(0, 120), st.integers(0, 1000))
def test_an_image_that_comes_again_stays_on_its_side(first, more, seed):
    """The same images with new ones, in another order."""
    marks = marked(first + more, seed)
    train, held_rows = split_holdout(np.zeros(first, np.int64), marks[:first], NOTHING)
    before = held(marks[held_rows], [0] * len(held_rows))
    shuffled = np.random.default_rng(seed).permutation(marks)
    sides = split_holdout(np.zeros(len(marks), np.int64), shuffled, before)
    assert set(marks[held_rows]) <= set(shuffled[sides[1]]) and set(marks[train]) <= set(shuffled[sides[0]])
    assert len(sides[1]) <= max(len(held_rows), int(HOLDOUT_SHARE * len(marks) + 0.5))
    elsewhere = split_holdout(np.ones(first, np.int64), marks[:first], before)
    assert (elsewhere[1] == held_rows).all(), "what another class holds out says nothing of this one"


def held(values, labels):
    """Held-out samples of one number each, which is their tap and mark too."""
    marks = np.array(values, np.uint64)
    numbers = marks.astype(np.uint8).reshape(-1, 1)
    return Holdout(numbers, np.array(labels, np.int64), numbers.astype(np.float16), marks)


NOTHING = held([], [])


def test_a_sample_is_held_once():
    again = held([1, 2], [0, 0]).extended(held([1, 3, 1], [0, 0, 1]))
    assert again.features[:, 0].tolist() == [2, 1, 3, 1] and again.labels.tolist() == [0, 0, 0, 1]
    assert again.taps[:, 0].tolist() == [2, 1, 3, 1]
    left = again.forget(0)
    assert left.features.tolist() == [[1]] and left.labels.tolist() == [0] and left.taps.tolist() == [[1]]


def test_a_full_class_keeps_its_newest_samples():
    holdout = held([], [])
    for value in range(30):
        holdout = holdout.extended(held([value], [7]))
    assert holdout.features[:, 0].tolist() == list(range(10, 30))


def test_numbers_that_are_none_are_refused():
    gate.refuse_broken(np.zeros((1, 2)))
    for number in (np.nan, np.inf):
        with pytest.raises(RejectedError, match="not finite"):
            gate.refuse_broken(np.array([[0.0, number]]))


def judged(before, after, among_earlier=None, images=20):
    """A judgement of two earlier classes and a new one."""

    def three(values):
        return np.array([*values, np.nan], np.float32)

    return judging.Judgement(
        ["a", "b", "new"],
        np.array([images, images, 5]),
        np.array([0, 4, 0]),
        three(before),
        three(after),
        three(among_earlier or after),
    )


def test_limits():
    gate.refuse_forgetting(judged((1.0, 0.8), (0.8, 0.7)), 0.2)
    gate.refuse_forgetting(judged((1.0, 1.0), (0.0, 0.0)), 1.0)
    gate.refuse_forgetting(judged((np.nan, np.nan), (0.0, 0.0)), 0.0)
    gate.refuse_forgetting(judged((1.0, 1.0), (0.0, 1.0), images=2), 0.2)  # two samples may turn by chance
    gate.refuse_harm(0.9, 0.7, 20, 0.2)
    gate.refuse_harm(0.9, 0.0, 20, 1.0)
    gate.refuse_harm(1.0, 0.0, 2, 0.2)
    with pytest.raises(RejectedError, match=r"from 90\.0% to 60\.0% among themselves"):
        gate.refuse_forgetting(judged((1.0, 0.8), (0.5, 0.7)), 0.2)
    with pytest.raises(RejectedError, match="own classes fell"):
        gate.refuse_harm(0.9, 0.5, 20, 0.2)


def test_labels_that_contradict_the_old_head():
    sure, unsure = np.array([[8, 0, 9]], np.float32), np.array([[1, 0, 9]], np.float32)
    logits, labels = np.concatenate([sure] * 5 + [unsure] * 3), np.array([1, 1, 1, 1, 0, 1, 1, 2])
    assert doubts.contradictions(logits, labels, 2) == (4, 7), "unsure ones, right ones and new classes do not count"
    assert doubts.contradictions(logits, labels, 0) == (0, 0)
    judgement = judged((1.0, 1.0), (1.0, 1.0))
    for allowed in (((4, 8), 4, 0.2), ((5, 8), 10, 0.2), ((4, 4), 0, 0.2), ((8, 8), 0, 1.0)):
        gate.refuse_contradiction(*allowed, judgement)
    with pytest.raises(RejectedError, match="5 of 8 images of known classes"):
        gate.refuse_contradiction((5, 8), 9, 0.2, judgement)


def test_a_larger_choice_may_cost_more_but_not_everything():
    gate.refuse_forgetting(judged((1.0, 1.0), (0.6, 0.6), (1.0, 1.0)), 0.2)
    with pytest.raises(RejectedError, match="among all classes") as caught:
        gate.refuse_forgetting(judged((1.0, 1.0), (0.4, 0.4), (1.0, 1.0)), 0.2)
    table = caught.value.details["per_class"]
    assert table["a"] == pytest.approx(
        {"images": 20, "learned_images": 0, "before": 1, "after": 0.4, "after_among_earlier_classes": 1}
    )
    assert table["new"]["before"] is None and table["b"]["learned_images"] == 4
    assert all(words in str(caught.value) for words in ("class", "judged on", "among earlier classes", "40.0%"))


def test_judging_class_by_class():
    labels = np.array([0, 0, 1, 1])
    before = np.array([[1, 0, 9], [1, 0, 9], [1, 0, 9], [0, 1, 9]], np.float32)
    after = np.array([[1, 0, 2], [1, 0, 0], [0, 1, 0], [0, 1, 0]], np.float32)
    found = judging.judge(["a", "b", "c"], 2, labels, before.astype(np.float64), after.astype(np.float64), 3)
    assert found.images.tolist() == [2, 2, 0] and found.learned.tolist() == [0, 1, 0]
    assert found.before.tolist()[:2] == [1.0, 0.5] and np.isnan(found.before[2])
    assert found.after.tolist()[:2] == [0.5, 1.0] and found.among_earlier.tolist()[:2] == [1.0, 1.0]
    first = judging.judge(["a"], 0, np.empty(0, np.int64), np.empty((0, 3), np.float32), np.empty((0, 3), np.float32))
    gate.refuse_forgetting(first, 0.0)
    assert first.document() == {}


def test_accuracy_is_the_mean_over_classes():
    logits = np.array([[1.0, 0.0, 0.0]] * 9 + [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    assert judging.accuracy(logits, np.array([0] * 9 + [1, 1])) == pytest.approx((1 + 0.5) / 2)
    assert judging.accuracy(logits[:0], np.array([], np.int64)) is None


def test_a_large_class_does_not_hide_what_a_small_one_forgets():
    forgot = judging.Judgement(
        ["a", "b"],
        np.array([200, 10]),
        np.zeros(2, np.int64),
        np.ones(2, np.float32),
        np.array([1, 0], np.float32),
        np.array([1, 0], np.float32),
    )
    with pytest.raises(RejectedError, match=r"from 100\.0% to 50\.0% among themselves"):
        gate.refuse_forgetting(forgot, 0.2)
