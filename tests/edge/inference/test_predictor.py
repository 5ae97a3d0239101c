"""Predictions of a state whose classifier was made by hand from the taps of its images."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

from hand_made_classifier import hand_made
from lightcl_edge import Learner
from lightcl_edge.bundle.bundle import Bundle
from lightcl_edge.data.specification import open_dataset
from lightcl_edge.errors import StateError
from lightcl_edge.inference.head import HeadSession
from lightcl_edge.inference.predictor import Predictor
from lightcl_edge.inference.trunk import Trunk
from lightcl_edge.state.change import changing
from lightcl_edge.state.state import State
from small_bundle import make_bundle, make_folder

NAMES = ["green", "red"]


def images_of(folder, info):
    dataset = open_dataset(str(folder))
    return np.stack([dataset.load(at, info) for at in range(len(dataset))]), dataset.labels


def taps_of(state, images):
    bundle, generation = state.bundle(), state.read()
    session = HeadSession(bundle, generation.parameters, 1)
    predictor = Predictor(state.folder)
    stored = predictor.codec.decode(predictor.codec.encode(Trunk(bundle).features_of_pixels(images)))
    return session.run(stored, logits=False).taps, session.run(stored)


def commit_classifier(state, tensors):
    with changing(state) as change:
        found = state.read()
        number = found.meta.generation + 1
        meta = replace(found.meta, generation=number, parent=number - 1)
        change.commit(replace(found, meta=meta, classifier=tensors))


@pytest.fixture(scope="module", params=[True, False], ids=["steps", "no steps"])
def taught(edge, tmp_path_factory, request):
    """A state with closed-form rows and half of the head's logits, and its classifier."""
    folder = tmp_path_factory.mktemp("taught")
    bundle = make_bundle(folder / "bundle", steps=request.param)
    data = make_folder(folder / "data", ["red", "green"], count=60)
    edge("train", "--bundle", bundle, "--state", folder / "state", "--data", data, "--strategy", "finetune", "--quiet")
    state = State(folder / "state")
    images, labels = images_of(data, state.bundle().manifest.input)
    taps = taps_of(state, images)[0].astype(np.float64)
    fitted = np.arange(len(labels)) % 2 == 0
    means = np.stack([taps[fitted & (labels == row)].mean(axis=0) for row in (0, 1)])
    spread = taps[fitted] - means[labels[fitted]]
    within = spread.T @ spread / fitted.sum() + 1e-3 * np.eye(taps.shape[1])
    held_out = taps[~fitted].astype(np.float32)
    made = hand_made(means, within, held_out=held_out, head_share=0.5, temperature=3.0)
    commit_classifier(state, made.tensors())
    return state, made


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    known = make_folder(folder / "known", ["red", "green"], 40, seed=7)
    return known, make_folder(folder / "new", ["blue"], 20, seed=8)


def test_one_run_of_the_head_gives_normalised_taps_and_logits(taught, photos):
    state, _ = taught
    images, _ = images_of(photos[0], state.bundle().manifest.input)
    taps, both = taps_of(state, images)
    sizes = [tap.size for tap in state.bundle().manifest.head.taps]
    assert np.array_equal(taps, both.taps) and both.logits.shape == (len(images), 6)
    for part in np.split(taps, np.cumsum(sizes)[:-1], axis=1):
        assert np.linalg.norm(part, axis=1) == pytest.approx(np.ones(len(images)), abs=1e-5)


def test_the_predictor_joins_rows_and_head_by_the_classifier(taught, photos):
    state, made = taught
    images, _ = images_of(photos[0], state.bundle().manifest.input)
    _, both = taps_of(state, images)
    found = Predictor(state.folder).scores(images)
    assert found.probabilities == pytest.approx(made.probabilities(both.taps, both.logits), abs=1e-5)
    assert found.novelty == pytest.approx(made.novelty(both.taps), abs=1e-3)


def test_a_colour_that_was_never_learned_is_never_seen(edge, taught, photos):
    state, made = taught
    known, new = photos
    document = json.loads(edge("predict", "--state", state.folder, new, "--json")[0])
    assert document["unknown_above"] == pytest.approx(made.threshold(0.05))
    called = [each["unknown"] for each in document["predictions"]]
    assert called == [each["unknown_score"] > document["unknown_above"] for each in document["predictions"]]
    assert np.mean(called) > 0.5
    assert edge("predict", "--state", state.folder, new)[0].count("never seen; most like ") == sum(called)
    words = ("evaluate", "--state", state.folder, "--data", known, "--unknown", new)
    found = json.loads(edge(*words, "--json")[0])
    assert found["unknown_found"] == np.mean(called) and found["unknown_images"] == 20
    assert found["unknown_auroc"] > 0.9 and found["false_alarm_rate"] < 0.2
    none = json.loads(edge(*words, "--false-alarms", "0", "--json")[0])
    assert none["false_alarm_rate"] <= found["false_alarm_rate"] and none["unknown_found"] <= found["unknown_found"]
    assert none["unknown_auroc"] == found["unknown_auroc"]


def test_the_interface_says_the_same(taught, photos):
    state, made = taught
    known, labels = images_of(photos[0], state.bundle().manifest.input)
    new, _ = images_of(photos[1], state.bundle().manifest.input)
    learner = Learner.open(None, state.folder, threads=1)
    strange = learner.predict(list(new))
    assert np.mean([each.unknown for each in strange]) > 0.5
    assert all(each.unknown == (each.unknown_score > made.threshold()) for each in strange)
    assert all(each.unsure for each in learner.predict(list(new), unsure_below=1.0) if each.probability < 1)
    found = learner.evaluate(list(known), [NAMES[row] for row in labels], unknown=list(new), false_alarms=0.2)
    assert found.unknown.images == 20 and found.unknown.auroc > 0.9


def test_a_classifier_that_does_not_fit_is_a_state_error(edge, taught, tmp_path, photos):
    import shutil

    state, made = taught
    copy = State(shutil.copytree(state.folder, tmp_path / "state"))
    commit_classifier(copy, made.tensors() | {"temperature": np.array(-1, np.float32)})
    assert "the temperature is -1" in edge("predict", "--state", copy.folder, photos[0], code=6)[1]
    with pytest.raises(StateError, match="the temperature is -1"):
        Predictor(copy.folder)


@pytest.mark.parametrize("steps", [True, False], ids=["steps", "no steps"])
def test_the_exported_head_gives_what_its_weights_give(tmp_path, steps):
    bundle = Bundle.open(make_bundle(tmp_path / "b", steps=steps))
    features = np.random.default_rng(0).random((3, *bundle.manifest.feature.shape), np.float32)
    exported, given = HeadSession(bundle, None, 1), HeadSession(bundle, bundle.head_parameters(), 1)
    for one, other in zip(exported.run(features), given.run(features), strict=True):
        assert np.abs(one - other).max() < 1e-5


def test_a_predictor_follows_the_state_with_the_same_trunk(edge, tmp_path):
    bundle, state = make_bundle(tmp_path / "b"), tmp_path / "s"
    data = make_folder(tmp_path / "a", ["red", "green"])
    edge("train", "--bundle", bundle, "--state", state, "--data", data, "--strategy", "slda", "--quiet")
    predictor = Predictor(state)
    trunk = predictor._trunk
    for name, strategy in (("blue", "slda"), ("grey", "replay")):
        more = make_folder(tmp_path / name, [name])
        edge("train", "--state", state, "--data", more, "--strategy", strategy, "--engine", "ort", "--quiet")
        assert predictor.follow() and predictor._trunk is trunk
        images = np.random.default_rng(0).integers(0, 256, (3, 16, 16, 3)).astype(np.uint8)
        fresh = Predictor(state)
        assert predictor.classes == fresh.classes and name in predictor.classes
        assert np.array_equal(predictor.scores(images).probabilities, fresh.scores(images).probabilities)
    shutil.rmtree(state)
    other = make_bundle(tmp_path / "other", seed=1)
    edge("train", "--bundle", other, "--state", state, "--data", data, "--strategy", "slda", "--quiet")
    assert not predictor.follow()
