"""An answer over several frames: it needs agreement, says when it changed, and does not flicker."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightcl_edge.errors import UsageError
from lightcl_edge.serve.watching.answer import StableAnswer

frame = st.tuples(st.sampled_from(["cat", "dog", "bird"]), st.floats(0, 1), st.booleans())
settings = st.tuples(st.floats(0, 1), st.floats(0.01, 1), st.integers(1, 9))


def answers(frames, threshold=0.8, agreement=0.6, window=5):
    stable = StableAnswer(threshold, agreement, window)
    return [stable.add(name, share, never_seen=unseen) for name, share, unseen in frames]


@given(st.lists(frame, min_size=1, max_size=25), settings)
def test_an_answer_has_the_agreement_that_it_claims(frames, numbers):
    threshold, agreement, window = numbers
    found = answers(frames, *numbers)
    for at, answer in enumerate(found):
        recent = frames[max(0, at + 1 - window) : at + 1]
        for_class = [share for name, share, unseen in recent if name == answer.class_name and not unseen]
        strong = sum(share >= threshold for share in for_class)
        unseen = sum(unseen for _, _, unseen in recent)
        enough = agreement * len(recent) - 1e-6
        if answer.kind == "sure":
            assert strong >= enough
        if answer.kind == "never seen":
            assert unseen >= enough
        if answer.kind != "unsure":
            assert len(recent) >= min(3, window)
        elif len(recent) >= min(3, window):
            names = {name for name, _, _ in recent}
            most = max(sum(n == name and s >= threshold and not u for n, s, u in recent) for name in names)
            assert most < max(enough, 1) + 1e-5
            assert unseen < max(enough, 1) + 1e-5 or unseen < len(recent) - unseen
        shares = [share for name, share, _ in recent if name == answer.class_name]
        assert min(shares) - 1e-9 <= answer.probability <= max(shares) + 1e-9
        before = found[at - 1] if at else answer
        differs = answer.kind != before.kind or (answer.kind == "sure" and answer.class_name != before.class_name)
        assert answer.changed == differs


@given(st.lists(frame, max_size=20), frame, st.integers(1, 9))
def test_the_same_frame_again_and_again_becomes_a_steady_answer(before, steady, window):
    found = answers([*before, *[steady] * (window + 3)], window=window)[len(before) :]
    name, share, unseen = steady
    kind = "never seen" if unseen else "sure" if share >= 0.8 else "unsure"
    assert {(answer.kind, answer.class_name) for answer in found[window - 1 + 2 :]} == {(kind, name)}
    assert not any(answer.changed for answer in found[window + 2 :])


def test_one_other_frame_in_five_changes_nothing():
    cat, dog = ("cat", 0.9, False), ("dog", 0.95, False)
    found = answers([cat, cat, cat, dog, cat, cat, cat, dog, cat])
    assert [answer.kind for answer in found] == ["unsure", "unsure", *["sure"] * 7]
    assert {answer.class_name for answer in found} == {"cat"}
    assert [answer.changed for answer in found] == [False, False, True, *[False] * 6]


def test_a_change_is_told_once_and_single_pictures_need_no_others():
    cat, dog, new = ("cat", 0.9, False), ("dog", 0.9, False), ("dog", 0.9, True)
    found = answers([*[cat] * 5, *[dog] * 5, *[new] * 5])
    assert [answer.kind for answer in found if answer.changed] == ["sure", "sure", "never seen"]
    single = answers([cat, dog, ("cat", 0.5, False), new], window=1)
    assert [(answer.kind, answer.class_name) for answer in single] == [
        ("sure", "cat"),
        ("sure", "dog"),
        ("unsure", "cat"),
        ("never seen", "dog"),
    ]


def test_after_clearing_old_frames_do_not_count():
    stable = StableAnswer()
    for _ in range(5):
        stable.add("cat", 0.9)
    stable.clear()
    assert stable.add("dog", 0.9).kind == "unsure"


@pytest.mark.parametrize("numbers", [(1.1, 0.6, 5), (0.8, 0, 5), (0.8, 0.6, 0), (float("nan"), 0.6, 5)])
def test_numbers_out_of_range_are_refused(numbers):
    with pytest.raises(UsageError, match="expected shares from 0 to 1"):
        StableAnswer(*numbers)
