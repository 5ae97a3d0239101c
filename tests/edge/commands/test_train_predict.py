"""The device's main job on a tiny bundle: learn, predict, evaluate, go back."""

from __future__ import annotations

import json
import re
import shutil

import pytest

from lightcl_edge.state.state import State
from small_bundle import make_bundle, make_folder

ENGINE = ("--engine", "ort")


def train(edge, bundle, state, data, *more, code=0):
    out, err = edge("train", "--bundle", bundle, "--state", state, "--data", data, "--json", *ENGINE, *more, code=code)
    return json.loads(out), err


@pytest.fixture(scope="module")
def learned(edge, tmp_path_factory):
    """A state after two tasks, without its bundle beside it, and what the tasks said."""
    folder = tmp_path_factory.mktemp("learned")
    bundle = make_bundle(folder / "bundle")
    first, second = make_folder(folder / "a", ["red", "green"]), make_folder(folder / "b", ["blue", "grey"])
    documents = [train(edge, bundle, folder / "state", data)[0] for data in (first, second)]
    shutil.rmtree(bundle)
    return folder / "state", documents


@pytest.fixture
def taught(learned, tmp_path):
    """A copy of that state."""
    return shutil.copytree(learned[0], tmp_path / "state"), learned[1]


def test_two_tasks_grow_the_classifier(taught):
    _, (one, two) = taught
    assert (one["generation"], one["classes"], one["new_classes"]) == (1, ["green", "red"], ["green", "red"])
    assert (two["generation"], two["new_classes"]) == (2, ["blue", "grey"])
    assert two["classes"] == ["green", "red", "blue", "grey"]
    assert one["images"] == 24 and one["skipped_images"] == 0 and one["peak_rss_bytes"] > 2**20
    assert {"extract", "import", "train", "commit"} <= {phase["name"] for phase in one["phases"]}
    assert one["bytes_written"] > 0 and one["engine"] == "ort" and one["engine_reason"]


def test_it_recognises_what_it_learned(edge, taught, tmp_path):
    test = make_folder(tmp_path / "test", ["red", "green", "blue", "grey"], count=6, seed=9)
    out, _ = edge("evaluate", "--state", taught[0], "--data", test, "--json")
    document = json.loads(out)
    assert document["accuracy"] > 0.9 and document["images"] == 24
    assert document["per_class"]["red"]["images"] == 6
    assert sum(sum(row.values()) for row in document["confusion"].values()) == 24


def test_predict_names_the_most_probable_first(edge, taught, tmp_path):
    test = make_folder(tmp_path / "test", ["blue"], count=1, seed=9)
    out, _ = edge("predict", "--state", taught[0], test / "blue" / "0.png", "--top-k", "3", "--json")
    top = json.loads(out)["predictions"][0]["top"]
    assert top[0]["class"] == "blue" and len(top) == 3
    assert top[0]["probability"] >= top[1]["probability"] >= top[2]["probability"]


def test_what_was_held_out_is_never_trained_on_when_it_is_taught_again(edge, bundle, tmp_path):
    """Neither in the same set nor in a larger one, under other names: else held-out accuracy would flatter."""
    state, data = tmp_path / "s", make_folder(tmp_path / "d", ["red", "green"], count=40)
    train(edge, bundle, state, data, "--buffer-size", "100")
    for image in sorted(data.rglob("*.png")):
        image.rename(image.with_name(f"copy-{image.name}"))
    make_folder(data, ["red", "green"], count=20, seed=5)
    train(edge, bundle, state, data, "--buffer-size", "100")
    for number in (1, 2):
        found = State(state).read(number)
        held = {sample.tobytes() for sample in found.holdout["features"]}
        trained = {sample.tobytes() for sample in found.buffer["features"]}
        assert len(held) == len(found.holdout["features"]) and trained and not held & trained
    assert {sample.tobytes() for sample in State(state).read(1).holdout["features"]} <= held


def test_the_same_seed_gives_the_same_bytes(edge, bundle, tmp_path):
    data = make_folder(tmp_path / "a", ["red", "green"])
    files = []
    for name in ("s1", "s2"):
        train(edge, bundle, tmp_path / name, data, "--seed", "5", "--strategy", "replay")
        files.append((tmp_path / name / "generations" / "000001" / "head.safetensors").read_bytes())
    train(edge, bundle, tmp_path / "s3", data, "--seed", "6", "--strategy", "replay")
    other = (tmp_path / "s3" / "generations" / "000001" / "head.safetensors").read_bytes()
    assert files[0] == files[1] != other


def test_status_history_rollback(edge, taught):
    state = taught[0]
    status = json.loads(edge("status", "--state", state, "--json")[0])
    assert status["generation"] == 2 and status["capacity"] == 6 and status["strategy"] == "slda"
    assert status["buffer"]["samples"] > 0 and status["interrupted_task"] is False
    assert [g["generation"] for g in json.loads(edge("history", "--state", state, "--json")[0])["generations"]] == [
        1,
        2,
    ]
    assert json.loads(edge("rollback", "--state", state, "--json")[0])["classes"] == ["green", "red"]
    assert json.loads(edge("status", "--state", state, "--json")[0])["generation"] == 1
    assert json.loads(edge("rollback", "--state", state, "--to", "2", "--json")[0])["generation"] == 2
    edge("rollback", "--state", state, "--to", "9", code=6)


def test_the_state_needs_no_bundle_beside_it(edge, taught, tmp_path):
    more = make_folder(tmp_path / "more", ["red"], seed=4)
    out, _ = edge("train", "--state", taught[0], "--data", more, "--json", *ENGINE)
    document = json.loads(out)
    assert document["generation"] == 3 and document["new_classes"] == []


def test_masks_of_the_strategy_accumulate(edge, bundle, tmp_path):
    from lightcl_edge.state.state import State

    kept = []
    for number, names in enumerate((["red", "green"], ["blue", "grey"], ["red", "blue"])):
        data = make_folder(tmp_path / str(number), names, seed=number)
        train(edge, bundle, tmp_path / "s", data, "--strategy", "lightcl", "--learning-rate", "0.05")
        kept.append(State(tmp_path / "s").read().strategy_state)
    before, after = kept[1]["lightcl:relu"], kept[2]["lightcl:relu"]
    assert kept[0] == {} and before.sum() >= 2 and (after | before == after).all()


def test_every_command_prints_text_too(edge, taught, tmp_path):
    state = taught[0]
    assert "generation 2" in edge("status", "--state", state)[0]
    assert "held-out" in edge("history", "--state", state)[0]
    test = make_folder(tmp_path / "test", ["red", "green"], count=2, seed=9)
    assert "accuracy" in edge("evaluate", "--state", state, "--data", test)[0]
    assert "0.png" in edge("predict", "--state", state, test / "red" / "0.png")[0]
    assert "generation 3" in edge("train", "--state", state, "--data", test, *ENGINE)[0]


def test_the_text_of_train_is_short_and_begins_with_the_result(edge, bundle, tmp_path):
    names = [f"class number {number:03}" for number in range(4)]
    data = make_folder(tmp_path / "d", ["red"], count=4)
    for name in names:
        make_folder(data, ["green"], count=8)
        (data / "green").rename(data / name)
    for number in range(9):
        (data / "red" / f"{'torn' * 20}{number}.png").write_text("no image")
    words = ("train", "--bundle", bundle, "--data", data, *ENGINE, "--epochs", "1")
    lines = edge(*words, "--state", tmp_path / "s")[0].splitlines()
    assert lines[0] == f"generation 1: learned {names[0]} and 4 more from 36 images"
    assert re.fullmatch(r"it knows 5 classes; \d+ of \d+ held-out images right \(mean over classes \S+%\)", lines[1])
    assert any(line.startswith("9 images could not be read: ") for line in lines)
    assert len(lines) <= 12 and max(map(len, lines)) <= 80
    document = json.loads(edge(*words, "--state", tmp_path / "t", "--json")[0])
    text = edge(*words, "--state", tmp_path / "u", "--verbose")[0]
    for reason in ("strategy_reason", "engine_reason", "engine_device_reason"):
        parts = re.split(r"[\d.]+ MiB", document[reason])  # what the process takes differs a little from run to run
        assert all(part in text for part in parts) and document[reason] not in "\n".join(lines)
    assert all(phase["name"] in text for phase in document["phases"]) and "torn8.png" in text


def test_finetune_holds_nothing(edge, bundle, tmp_path):
    from lightcl_edge.state.state import State

    for names in (["red", "green"], ["blue", "grey"]):
        train(
            edge,
            bundle,
            tmp_path / "s",
            make_folder(tmp_path / names[0], names),
            "--strategy",
            "finetune",
            "--max-forgetting",
            "1",
        )
    assert State(tmp_path / "s").read().strategy_state == {}


def test_a_full_classifier_says_how_to_export_a_larger_one(edge, tmp_path):
    names = ["red", "green", "blue", "grey"]
    small = make_bundle(tmp_path / "b", classes=["a", "b", "c"])
    _, err = train(edge, small, tmp_path / "s", make_folder(tmp_path / "d", names), code=2)
    assert "--max-classes 7" in err


@pytest.mark.parametrize("steps", [True, False])
def test_the_predictor_uses_the_learned_weights(edge, tmp_path, steps):
    """onnxruntime's highest optimisation level would take convolution weights from the exported file."""
    import numpy as np

    from lightcl_edge.inference.predictor import Predictor
    from lightcl_edge.inference.trunk import Trunk
    from lightcl_edge.learning.engines.torch_engine import TorchEngine
    from lightcl_edge.state.state import State

    state, folder = tmp_path / "state", make_bundle(tmp_path / "b", steps=steps)
    data = make_folder(tmp_path / "a", ["red", "green", "blue", "grey"])
    edge("train", "--bundle", folder, "--state", state, "--data", data, "--strategy", "replay", "--quiet")
    bundle, generation = State(state).bundle(), State(state).read()
    images = np.random.default_rng(0).integers(0, 256, (3, 16, 16, 3)).astype(np.uint8)
    for scale in (1.0, 1.5, -0.5):
        learned = {name: array * np.float32(scale) for name, array in generation.parameters.items()}
        predictor = Predictor(state)
        predictor.use_weights(learned)
        engine = TorchEngine(bundle.path("head.onnx"), bundle.manifest.head, 1)
        engine.load(learned)
        stored = predictor.codec.decode(predictor.codec.encode(Trunk(bundle).features_of_pixels(images)))
        logits = engine.logits(stored)
        engine.load(bundle.head_parameters())  # taps are those of the head as exported
        expected = predictor.classifier.probabilities(engine.activations(stored, ["taps"])["taps"], logits)
        assert predictor.classifier.needs_head
        assert np.abs(predictor.scores(images).probabilities - expected).max() < 1e-4
