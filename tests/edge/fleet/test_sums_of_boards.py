"""Boards that learn, share, merge and erase in any order end with the sums of pooled learning."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from fleet_device import NETWORK, SIZE, Device, assert_same, expected
from lightcl_edge.data.sums import Sums
from lightcl_edge.files.durable import calls_through
from lightcl_edge.fleet.arrivals import sort_out
from power_cut import Unsynced

CLASSES = ("cat", "dog")
ACTIONS = st.one_of(
    st.tuples(st.just("learn"), st.integers(0, 2), st.sampled_from(CLASSES), st.integers(1, 6)),
    st.tuples(st.just("share"), st.integers(0, 2)),
    st.tuples(st.just("merge"), st.integers(0, 2), st.randoms(use_true_random=False)),
    st.tuples(st.just("forget"), st.integers(0, 2), st.sampled_from(CLASSES)),
)


@settings(max_examples=150)
@given(st.lists(ACTIONS, max_size=25), st.randoms(use_true_random=False))
def test_any_order_and_repetition_gives_pooled_learning(tmp_path_factory, actions, random):
    folder = tmp_path_factory.mktemp("files")
    devices = [Device(f"board{number}", folder) for number in range(3)]
    files, numbers = [], np.random.default_rng(0)
    with calls_through(Unsynced()):
        for what, at, *more in actions:
            device = devices[at]
            if what == "learn":
                device.learn(more[0], (numbers.normal(size=(more[1], SIZE)) / 8).clip(-1, 1).astype(np.float32))
            elif what == "share":
                files.append(device.share())
            elif what == "forget":
                device.forget(more[0])
            elif files:
                device.merge(more[0].choices(files, k=3))
        files += [device.share() for device in devices]
        for device in devices:
            device.merge(random.sample(files, len(files)))
            device.merge(random.choices(files, k=4))
    for device in devices:
        assert_same(device.sums, expected(devices))


def test_a_class_can_be_taught_again_after_it_was_erased(tmp_path):
    first, second = Device("a", tmp_path), Device("b", tmp_path)
    rows = np.full((3, SIZE), 0.25, np.float32)
    first.learn("cat", rows)
    second.learn("cat", rows)
    old = second.share()
    first.forget("cat")
    second.merge([first.share()])
    assert not second.sums.classes
    second.learn("cat", rows[:2])
    first.merge([old, second.share(), old])
    assert first.sums.counts == {"cat": 2}


def test_a_version_grows_only_when_there_is_something_new(tmp_path):
    device = Device("a", tmp_path)
    path = device.share()
    content = path.read_bytes()
    assert device.share() == path and path.read_bytes() == content and device.board.version == 1
    device.learn("cat", np.full((1, SIZE), 0.5, np.float32))
    device.share()
    assert device.board.version == 2


def test_two_boards_of_one_name_are_noticed(tmp_path):
    (tmp_path / "x").mkdir()
    first, second, third = Device("a", tmp_path), Device("a", tmp_path / "x"), Device("c", tmp_path)
    first.learn("cat", np.full((1, SIZE), 0.5, np.float32))
    third.merge([first.share()])
    arrivals = sort_out([second.share()], "c", third.sums.boards, NETWORK, SIZE, None)
    assert "two boards have one name" in arrivals.ignored[0].reason


def test_others_parts_are_kept_apart_and_replaced():
    rows = np.full((2, SIZE), 0.5, np.float32)
    sums = Sums(SIZE).add("cat", rows).add("cat", rows, board="b")
    assert sums.counts == {"cat": 4} and list(sums.own) == ["cat"] and sums.own["cat"].count == 2
    version = replace_version(sums)
    assert version.counts == {"cat": 2} and version.forget("cat").counts == {}


def replace_version(sums):
    from lightcl_edge.data.sums import BoardVersion

    return replace(sums).replace_board("b", BoardVersion(2, ""), {})
