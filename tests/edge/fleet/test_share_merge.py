"""``share`` and ``merge`` as commands: real boards with a tiny network."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time

import numpy as np
import pytest

from lightcl_edge.console.progress import Progress
from lightcl_edge.files.durable import calls_through
from lightcl_edge.fleet.merge import MergeOptions, merge
from lightcl_edge.machine.process_memory import PhaseMeter
from lightcl_edge.state.change import changing
from lightcl_edge.state.state import State
from power_cut import Recorder, Unsynced, fates
from small_bundle import make_bundle, make_folder


def said(edge, *arguments, code=0):
    return json.loads(edge(*arguments, "--json", code=code)[0])


@pytest.fixture(scope="module")
def made(edge, tmp_path_factory):
    """Two boards that taught two classes each, one that taught all four, and what the second one shares."""
    folder = tmp_path_factory.mktemp("boards")
    bundle, more = make_bundle(folder / "bundle"), ("--engine", "ort", "--strategy", "slda")
    with calls_through(Unsynced()):
        for board, classes in (("one", ["red", "green"]), ("two", ["blue", "grey"])):
            data = make_folder(folder / board, classes)
            edge("train", "--bundle", bundle, "--state", folder / f"s-{board}", "--data", data, *more)
            edge("train", "--bundle", bundle, "--state", folder / "s-all", "--data", data, *more)
        edge("share", "--state", folder / "s-two", "--out", folder / "two.knowledge", "--board", "two")
        shutil.copytree(folder / "s-two", folder / "s-erased")
        edge("forget", "--state", folder / "s-erased", "--class", "blue")
        edge("share", "--state", folder / "s-erased", "--out", folder / "erased.knowledge")
    return folder


@pytest.fixture
def boards(made, tmp_path):
    """Copies that a test may change."""
    return shutil.copytree(made, tmp_path / "boards")


def scores(state, classes):
    from lightcl_edge.inference.predictor import Predictor

    images = np.random.default_rng(0).integers(0, 256, (6, 16, 16, 3)).astype(np.uint8)
    predictor = Predictor(state)
    return predictor.scores(images).probabilities[:, [predictor.classes.index(name) for name in classes]]


def test_merging_equals_learning_all_pictures_here(edge, boards):
    document = said(edge, "merge", "--state", boards / "s-one", boards / "two.knowledge")
    assert document["new_classes"] == ["blue", "grey"] and document["generation"] == 2
    assert document["merged"] == [{"board": "two", "version": 1, "classes": ["blue", "grey"]}]
    merged, pooled = State(boards / "s-one").read(), State(boards / "s-all").read()
    assert merged.meta.classes == pooled.meta.classes and merged.sums.counts == pooled.sums.counts
    for name in ("weights", "biases"):
        assert np.allclose(merged.classifier[name], pooled.classifier[name], rtol=1e-5, atol=1e-5)
    again = said(edge, "merge", "--state", boards / "s-one", boards / "two.knowledge", boards / "two.knowledge")
    assert again["generation"] == 2 and not again["merged"] and len(again["ignored"]) == 2
    status = said(edge, "status", "--state", boards / "s-one")
    assert status["boards"] == [{"board": "two", "version": 1, "images_by_class": {"blue": 11, "grey": 11}}]
    assert "from other boards: two (version 1, 2 classes)" in edge("status", "--state", boards / "s-one")[0]
    assert said(edge, "rollback", "--state", boards / "s-one")["generation"] == 1
    assert said(edge, "merge", "--state", boards / "s-one", boards / "two.knowledge")["generation"] == 3


def test_a_new_board_begins_with_what_others_know(edge, boards):
    new = boards / "new"
    edge("merge", "--bundle", boards / "bundle", "--state", new, boards / "two.knowledge")
    edge("train", "--state", new, "--data", boards / "one", "--engine", "ort")
    assert set(said(edge, "status", "--state", new)["classes"]) == {"red", "green", "blue", "grey"}
    shared = said(edge, "share", "--state", new, "--out", boards / "new.knowledge")
    assert sorted(shared["classes"]) == ["green", "red"] and shared["board"].startswith("board-")
    assert (boards / "new.knowledge").stat().st_size == shared["bytes"]
    again = said(edge, "merge", "--state", new, boards / "new.knowledge")
    assert again["ignored"][0]["reason"] == "it is of this board itself"


def test_erasing_a_class_is_shared_and_what_is_left_is_never_having_learned_it(edge, boards):
    edge("merge", "--state", boards / "s-one", boards / "two.knowledge")
    document = said(edge, "merge", "--state", boards / "s-one", boards / "erased.knowledge", boards / "two.knowledge")
    assert document["erased_classes"] == ["blue"] and set(document["classes"]) == {"red", "green", "grey"}
    shutil.rmtree(boards / "two" / "blue")
    state, more = boards / "never", ("--engine", "ort", "--strategy", "slda")
    for board in ("one", "two"):
        edge("train", "--bundle", boards / "bundle", "--state", state, "--data", boards / board, *more)
    left, never = State(boards / "s-one").read(), State(state).read()
    assert left.sums.counts == never.sums.counts
    for name in ("weights", "biases"):
        assert np.allclose(left.classifier[name], never.classifier[name], rtol=1e-5, atol=1e-5)
    assert all(
        "blue" not in State(boards / "s-one").meta(number).classes for number in State(boards / "s-one").numbers()
    )


def test_refused_files_are_named_and_change_nothing(edge, boards):
    before = State(boards / "s-one").current_number()
    (boards / "bad").write_bytes(b"nonsense")
    edge("train", "--bundle", make_bundle(boards / "b2", seed=1), "--state", boards / "x", "--data", boards / "one")
    edge("share", "--state", boards / "x", "--out", boards / "other")
    out, err = edge("merge", "--state", boards / "s-one", boards / "other", boards / "bad", "--json", code=3)
    error = json.loads(out)["error"]
    assert error["kind"] == "MixedBundleError" and len(error["ignored"]) == 2 and "another network" in err
    edge("merge", "--state", boards / "s-one", boards / "two.knowledge", boards / "bad", "--key", "nokey", code=2)
    assert State(boards / "s-one").current_number() == before
    document = said(edge, "merge", "--state", boards / "s-one", boards / "bad", boards / "two.knowledge")
    assert [each["kind"] for each in document["ignored"]] == ["HugeHeaderError"] and document["merged"]
    edge("merge", "--bundle", boards / "bundle", "--state", boards / "none", boards / "bad", code=3)
    assert not (boards / "none").exists()


def test_a_board_keeps_its_name(edge, boards):
    assert (
        "keeps its name" in edge("share", "--state", boards / "s-two", "--out", boards / "k", "--board", "x", code=2)[1]
    )
    assert (
        "can't be one" in edge("share", "--state", boards / "s-one", "--out", boards / "k", "--board", "a/b", code=2)[1]
    )
    edge("merge", "--state", boards / "s-one", boards / "two.knowledge")
    assert "is called" in edge("share", "--state", boards / "s-one", "--out", boards / "k", "--board", "two", code=2)[1]
    assert "keeps its name" in edge("rename", "--state", boards / "s-one", "--class", "blue", "--to", "b", code=2)[1]


def known(state):
    return frozenset(state.read().meta.classes)


def test_a_power_cut_while_merging(boards, tmp_path):
    """The generation before or after, and an erased class whole or gone; the same command then gives the same end."""
    state = State(boards / "s-one")
    first, second = boards / "two.knowledge", boards / "erased.knowledge"
    with calls_through(Unsynced()):
        merge(MergeOptions(state.folder, [first]), PhaseMeter(), Progress(quiet=True))
    before, recorder = known(state), Recorder(state.folder)
    with calls_through(recorder):
        merge(MergeOptions(state.folder, [second]), PhaseMeter(), Progress(quiet=True))
    seen, cut, end = dict.fromkeys((before, known(state)), 0), tmp_path / "cut", known(state)
    for count in range(0, len(recorder.events) + 1, 5):
        for way in ("all kept", "all lost", "random 0"):
            recorder.after_cut(count, fates(count)[way], cut)
            after = State(cut)
            assert known(after) in seen, f"call {count}, {way}"
            with calls_through(Unsynced()), changing(after):
                pass
            seen[known(after)] += 1
            if count % 60 == 0:
                with calls_through(Unsynced()):
                    merge(MergeOptions(cut, [second]), PhaseMeter(), Progress(quiet=True))
                assert known(after) == end and after.read().sums.boards["two"].version == 2
            shutil.rmtree(cut)
    assert min(seen.values()) > 5, seen


def test_killed_while_merging(edge, boards):
    state, command = boards / "s-one", [sys.executable, "-m", "lightcl_edge", "merge", "--state"]
    started = time.perf_counter()
    copy = shutil.copytree(state, boards / "timed")
    subprocess.run([*command, copy, boards / "two.knowledge"], check=True, capture_output=True)
    whole = time.perf_counter() - started
    for share in (0.5, 0.7, 0.8, 0.9, 0.95):
        child = subprocess.Popen([*command, state, boards / "two.knowledge"], stderr=subprocess.DEVNULL)
        time.sleep(whole * share)
        child.kill()
        child.wait()
        assert len(said(edge, "status", "--state", state)["classes"]) in (2, 4)
    edge("merge", "--state", state, boards / "two.knowledge")
    assert len(said(edge, "status", "--state", state)["classes"]) == 4
