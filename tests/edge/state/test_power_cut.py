"""A power cut after any call of a commit, of a recovery, of a whole training: the old generation or the new."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from lightcl_edge.bundle.bundle import Bundle
from lightcl_edge.errors import StateError
from lightcl_edge.files.durable import calls_through
from lightcl_edge.state.change import changing
from lightcl_edge.state.generation import KEPT_GENERATIONS, Generation, Meta
from lightcl_edge.state.state import State
from lightcl_edge.state.work import has_interrupted_task
from power_cut import Recorder, Unsynced, fates
from small_bundle import make_bundle, make_folder

pytestmark = pytest.mark.usefixtures("manifests_read_once")


def commit(change, number, parent=None):
    state = change.state
    parameters = {name: np.full_like(array, number) for name, array in state.bundle().head_parameters().items()}
    meta = Meta(number, 0.0, state.bundle().identity, ["a", "b"], parent=number - 1 if parent is None else parent)
    holdout = {
        "features": np.full((2, 16, 4, 4), number, np.uint8),
        "labels": np.zeros(2, np.int64),
        "taps": np.zeros((2, 48), np.float16),
        "marks": np.zeros(2, np.int64),
    }
    sums = state.read().sums.forget("a")  # "b" is taught once, so its file is linked from then on
    for name in {"a", "b"} - set(sums.classes):
        sums = sums.add(name, np.full((1, sums.size), number if name == "a" else 0.5, np.float32))
    change.commit(Generation(meta, parameters, {}, holdout, sums))


@pytest.fixture
def state(tmp_path):
    """As many generations as are kept, so that the next commit also drops one."""
    made = State(tmp_path / "state")
    with calls_through(Unsynced()), changing(made, create=True) as change:
        change.install_bundle(Bundle.open(make_bundle(tmp_path / "bundle", steps=False)))
        for number in range(1, KEPT_GENERATIONS + 1):
            commit(change, number)
    return made


def content_number(state):
    """Which generation a state really holds: its files were filled with its number."""
    read = state.read()
    values = {float(value) for name in read.parameters for value in np.unique(read.parameters[name])}
    values |= {float(value) for value in np.unique(read.holdout["features"])}
    values |= {float(value) for value in np.unique(read.sums.classes["a"].read().total)}
    assert (read.sums.classes["b"].read().total == 0.5).all()
    assert values == {float(read.meta.generation)}, f"a mix: {values}"
    return read.meta.generation


def leftovers(state):
    found = [p.name for p in state.folder.rglob("*") if p.suffix in (".new", ".old")]
    return found + [n for n in state.numbers_on_disk() if n not in state.numbers()]


def test_a_power_cut_at_any_call_of_a_commit(state, tmp_path):
    recorder, old = Recorder(state.folder), KEPT_GENERATIONS
    with calls_through(recorder), changing(state) as change:
        commit(change, old + 1)
    assert state.numbers() == list(range(2, old + 2))
    seen, cut = {old: 0, old + 1: 0}, tmp_path / "cut"
    for count in range(len(recorder.events) + 1):
        for way, choice in fates(count).items():
            recorder.after_cut(count, choice, cut)
            after = State(cut)
            number = content_number(after)
            assert number in seen, f"call {count}, {way}"
            seen[number] += 1
            with calls_through(Unsynced()), changing(after) as change:
                assert not leftovers(after), f"call {count}, {way}"
                assert content_number(after) == number
                assert all(after.is_whole(kept) for kept in after.numbers()), f"call {count}, {way}"
                if way == "random 0":  # and it goes on learning
                    commit(change, after.next_number(), number)
                    assert content_number(after) == number + 1
            shutil.rmtree(cut)
    assert min(seen.values()) > 100, seen


def test_a_power_cut_after_the_commit_returned_loses_nothing(state, tmp_path):
    recorder = Recorder(state.folder)
    with calls_through(recorder), changing(state) as change:
        commit(change, KEPT_GENERATIONS + 1)
    for way, choice in fates(0).items():
        recorder.after_cut(len(recorder.events), choice, tmp_path / way)
        assert content_number(State(tmp_path / way)) == KEPT_GENERATIONS + 1


def test_a_second_power_cut_during_recovery(state, tmp_path):
    recorder, old = Recorder(state.folder), KEPT_GENERATIONS
    with calls_through(recorder), changing(state) as change:
        commit(change, old + 1)
    first, second, recoveries = tmp_path / "first", tmp_path / "second", 0
    for count in range(0, len(recorder.events) + 1, 8):
        for way in ("all kept", "random 0"):
            recorder.after_cut(count, fates(count)[way], first)
            number = content_number(State(first))
            again = Recorder(first)
            with calls_through(again), changing(State(first)):
                pass
            recoveries += len(again.events) > 0
            for stop in range(0, len(again.events) + 1, 2):
                again.after_cut(stop, fates(stop)["random 2"], second)
                assert content_number(State(second)) == number
                with calls_through(Unsynced()), changing(State(second)):
                    assert not leftovers(State(second))
                assert content_number(State(second)) == number
                shutil.rmtree(second)
            shutil.rmtree(first)
    assert recoveries > 8


@pytest.fixture
def cut_training(edge, bundle, tmp_path, monkeypatch):
    """The recording of a first task (install, features, checkpoints, commit), and its result."""
    monkeypatch.setattr("lightcl_edge.learning.checkpoint.SECONDS_BETWEEN_CHECKPOINTS", 0.0)
    monkeypatch.setattr("lightcl_edge.learning.checkpoint.SHARE_AT_RISK", 0.0)
    monkeypatch.setattr("lightcl_edge.learning.checkpoint.MOST_CHECKPOINTS", 4)
    data, home = make_folder(tmp_path / "d", ["red", "green"], count=6), tmp_path / "home"
    home.mkdir()
    recorder = Recorder(home)

    def train(state):
        arguments = ("--bundle", bundle, "--data", data, "--engine", "ort", "--epochs", "2", "--threads", "1")
        edge("train", "--state", state, *arguments, "--strategy", "replay", "--quiet")
        return next(state.glob("generations/*/head.safetensors")).read_bytes()

    with calls_through(recorder):
        learned = train(home / "state")
    return recorder, train, learned


def check_cut(recorder, train, learned, count, choice, home):
    """After this cut there is nothing, the bundle, or the whole new generation; training then ends in the same."""
    recorder.after_cut(count, choice, home)
    state = State(home / "state")
    if state.exists():
        number = state.read().meta.generation
        assert number in (0, 1)
        if number == 1:
            assert (state.place(1) / "head.safetensors").read_bytes() == learned
    with calls_through(Unsynced()):
        if not state.exists() or state.current_number() == 0:
            assert train(home / "state") == learned
            assert not leftovers(state) and not has_interrupted_task(state)
    shutil.rmtree(home)


def test_a_power_cut_in_a_training_goes_on_to_the_same_weights(cut_training, tmp_path):
    recorder, train, learned = cut_training
    assert sum(event[0] == "rename" and event[4] == "checkpoint.json" for event in recorder.events) == 4
    for draw, count in enumerate(range(7, len(recorder.events), len(recorder.events) // 8)):
        choice = list(fates(count).values())[draw % 8]
        check_cut(recorder, train, learned, count, choice, tmp_path / "cut")


@pytest.mark.slow
def test_a_power_cut_at_any_call_of_a_training(cut_training, tmp_path):
    recorder, train, learned = cut_training
    for count in range(len(recorder.events) + 1):
        for choice in fates(count).values():
            check_cut(recorder, train, learned, count, choice, tmp_path / "cut")


def test_a_damaged_pointer_and_no_whole_generation_is_not_taken_for_nothing(state):
    for number in state.numbers():
        (state.place(number) / "head.safetensors").write_bytes(b"")
    (state.folder / "CURRENT").write_bytes(b"")
    with pytest.raises(StateError, match="so is each of the generations"):
        state.read()
