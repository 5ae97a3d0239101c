"""After forget, nothing of the class is left in any file, and what is left works."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from lightcl_edge.files.durable import calls_through
from lightcl_edge.learning.forgetting import forget
from lightcl_edge.state.change import changing
from lightcl_edge.state.state import State
from lightcl_edge.state.work import has_interrupted_task
from power_cut import Recorder, Unsynced, fates
from small_bundle import make_bundle, make_folder


def train(edge, state, data, *more):
    return json.loads(edge("train", "--state", state, "--data", data, "--engine", "ort", "--json", *more)[0])


@pytest.fixture(scope="module")
def learned(edge, tmp_path_factory):
    """Three generations: red and green, then blue and grey, then red again with other pictures."""
    folder = tmp_path_factory.mktemp("learned")
    state = folder / "state"
    train(edge, state, make_folder(folder / "a", ["red", "green"]), "--bundle", make_bundle(folder / "bundle"))
    train(edge, state, make_folder(folder / "b", ["blue", "grey"]))
    train(edge, state, make_folder(folder / "c", ["red"], seed=5))
    return state


@pytest.fixture
def taught(learned, tmp_path):
    """A copy of that state."""
    return State(shutil.copytree(learned, tmp_path / "state"))


def samples_of(state, name):
    """The stored bytes of a class's samples in every generation."""
    found = set()
    for number in state.numbers():
        read = state.read(number)
        if name in read.meta.classes:
            row = read.meta.classes.index(name)
            for kept in (read.holdout, read.buffer):
                found |= {feature.tobytes() for feature in kept["features"][kept["labels"] == row]}
    return found


def files_with(folder, patterns):
    contents = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    return sorted({str(path.relative_to(folder)) for path, data in contents.items() for p in patterns if p in data})


def test_no_file_holds_a_forgotten_sample_or_its_name(edge, taught):
    samples, others = samples_of(taught, "red"), samples_of(taught, "green")
    assert len(samples) > 10 and len(files_with(taught.folder, samples)) >= 3
    assert files_with(taught.folder, [b'"red"'])
    before = [(meta.classes, meta.parent) for meta in map(taught.meta, taught.numbers())]
    document = json.loads(edge("forget", "--state", taught.folder, "--class", "red", "--json")[0])
    assert document["generations_rewritten"] == 3 and document["samples_erased"] > 5
    parts = {sample[at : at + 64] for sample in samples for at in range(0, 192, 64)}
    of_others = {sample[at : at + 64] for sample in others for at in range(0, 256)}
    assert files_with(taught.folder, samples) == []
    assert files_with(taught.folder, {part for part in parts if any(part) and part not in of_others}) == []
    assert files_with(taught.folder, [b'"red"']) == []
    after = [(meta.classes, meta.parent) for meta in map(taught.meta, taught.numbers())]
    assert [classes for classes, _ in after] == [[c for c in classes if c != "red"] for classes, _ in before]
    assert [parent for _, parent in after] == [0, 4, 5] and taught.current_number() == 6
    assert samples_of(taught, "green") == others


def test_the_other_classes_answer_as_before(edge, bundle, tmp_path):
    """Where the head alone classifies, only the row of the forgotten class is gone."""
    from lightcl_edge.inference.predictor import Predictor

    state = tmp_path / "state"
    more = ("--bundle", bundle, "--strategy", "finetune")
    train(edge, state, make_folder(tmp_path / "a", ["red", "green", "blue"]), *more)
    images = np.random.default_rng(0).integers(0, 256, (4, 16, 16, 3)).astype(np.uint8)
    before = Predictor(state)
    probabilities = before.scores(images).probabilities
    edge("forget", "--state", state, "--class", "green")
    after = Predictor(state)
    assert after.classes == [name for name in before.classes if name != "green"]
    kept = probabilities[:, [before.classes.index(name) for name in after.classes]]
    assert np.allclose(after.scores(images).probabilities, kept / kept.sum(axis=1, keepdims=True), atol=1e-5)
    head = State(state).read().parameters
    assert not head["classifier.weight"][-1].any() and not head["classifier.bias"][-1].any()


@pytest.mark.parametrize("strategy", ["slda", "ncm"])
def test_what_is_left_is_what_learning_without_the_class_leaves(edge, bundle, tmp_path, strategy):
    more = ("--bundle", bundle, "--strategy", strategy)
    both = make_folder(tmp_path / "a", ["red", "green"], count=60)
    train(edge, tmp_path / "s", both, *more)
    shutil.rmtree(both / "green")
    train(edge, tmp_path / "never", both, *more)
    last = make_folder(tmp_path / "b", ["blue", "grey"], count=60)
    for state in ("s", "never"):
        train(edge, tmp_path / state, last, *more)
    edge("forget", "--state", tmp_path / "s", "--class", "green")
    found, expected = (State(tmp_path / state).read() for state in ("s", "never"))
    assert found.meta.classes == expected.meta.classes == ["red", "blue", "grey"]
    assert len(expected.classifier["held_out_scores"])
    for name, tensor in expected.classifier.items():
        assert np.allclose(found.classifier[name], tensor, rtol=1e-5, atol=1e-5 * np.abs(tensor).max()), name
    assert (found.holdout["taps"] == expected.holdout["taps"]).all()


@pytest.mark.parametrize("strategy", ["lightcl", "replay", "slda", "ncm", "finetune"])
def test_the_row_is_free_again_whatever_the_strategy(edge, bundle, tmp_path, strategy):
    state, more = tmp_path / "s", ("--strategy", strategy, "--max-forgetting", "1")
    train(edge, state, make_folder(tmp_path / "a", ["red", "green"]), "--bundle", bundle, *more)
    train(edge, state, make_folder(tmp_path / "b", ["blue", "grey"]), *more)
    edge("forget", "--state", state, "--class", "red")
    assert files_with(state, [b'"red"']) == []
    document = train(edge, state, make_folder(tmp_path / "c", ["red", "blue"], seed=3), *more)
    assert document["classes"] == ["green", "blue", "grey", "red"] and document["new_classes"] == ["red"]
    test = make_folder(tmp_path / "test", ["blue", "grey", "red"], count=5, seed=9)
    out = json.loads(edge("evaluate", "--state", state, "--data", test, "--json")[0])
    assert strategy in ("lightcl", "finetune") or out["accuracy"] > 0.6, out


def test_an_interrupted_tasks_features_go_too(edge, taught, tmp_path, monkeypatch):
    data = make_folder(tmp_path / "d", ["red"], seed=8)
    monkeypatch.setattr(
        "lightcl_edge.learning.loop.TrainingLoop.run", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt)
    )
    edge("train", "--state", taught.folder, "--data", data, "--engine", "ort", "--strategy", "replay", code=130)
    store = taught.work / "features" / "features.u8"
    features = {store.read_bytes()[at : at + 256] for at in range(0, store.stat().st_size, 256)}
    assert len(features) == 12
    edge("forget", "--state", taught.folder, "--class", "green")
    assert files_with(taught.folder, features) == [] and not has_interrupted_task(taught)


def test_an_unknown_class(edge, taught):
    assert "no class 'violet'" in edge("forget", "--state", taught.folder, "--class", "violet", code=2)[1]


def test_a_damaged_old_generation_is_dropped_for_it_may_hold_samples(edge, taught):
    head = taught.place(1) / "head.safetensors"
    head.write_bytes(head.read_bytes()[:-1])
    edge("forget", "--state", taught.folder, "--class", "red")
    assert len(taught.numbers()) == 2 and files_with(taught.folder, [b'"red"']) == []


@pytest.mark.usefixtures("manifests_read_once")
@pytest.mark.parametrize("stride", [7, pytest.param(1, marks=pytest.mark.slow)])
def test_a_power_cut_while_forgetting(taught, tmp_path, stride):
    """The class is known as before, or nothing is left of it once the state was locked again."""
    samples, recorder = samples_of(taught, "red"), Recorder(taught.folder)
    with calls_through(recorder), changing(taught) as change:
        forget(change, "red")
    seen, cut = {True: 0, False: 0}, tmp_path / "cut"
    for count in range(0, len(recorder.events) + 1, stride):
        for way in ("all kept", "all lost", "random 0"):
            recorder.after_cut(count, fates(count)[way], cut)
            state = State(cut)
            known = "red" in state.read().meta.classes
            with calls_through(Unsynced()), changing(state):
                pass
            assert ("red" in state.read().meta.classes) == known and len(state.numbers()) == 3
            assert (files_with(cut, samples) != []) == known, f"call {count}, {way}"
            seen[known] += 1
            shutil.rmtree(cut)
    assert min(seen.values()) > 5, seen


def test_a_dry_run_changes_nothing_and_what_goes_for_good_is_said_before(edge, bundle, tmp_path):
    data, state = make_folder(tmp_path / "d", ["red", "green"], count=12), ("--state", tmp_path / "s")
    edge("train", "--bundle", bundle, *state, "--data", data, "--strategy", "slda")
    edge("train", *state, "--data", make_folder(tmp_path / "e", ["blue"], count=12), "--strategy", "slda")
    before = {path: path.read_bytes() for path in (tmp_path / "s").rglob("*") if path.is_file()}
    foreseen = json.loads(edge("forget", *state, "--class", "red", "--dry-run", "--json")[0])
    assert foreseen["dry_run"] and foreseen["generations_rewritten"] == 2 and foreseen["classes"] == ["green", "blue"]
    out = edge("forget", *state, "--class", "red", "--dry-run")[0]
    assert out.startswith("nothing was changed; erased for good, beyond any rollback: ") and "Image files stay" in out
    assert {path: path.read_bytes() for path in (tmp_path / "s").rglob("*") if path.is_file()} == before
    assert "no class 'pink'" in edge("forget", *state, "--class", "pink", "--dry-run", code=2)[1]
    out, told = edge("forget", *state, "--class", "red", "--json")
    assert told.startswith("erased for good") and f"{foreseen['samples_erased']} samples of red" in told
    done = json.loads(out)
    assert done["samples_erased"] == foreseen["samples_erased"] and done["classes"] == foreseen["classes"]
