"""What predict and evaluate say of images that they are not sure of, or have never seen the like of."""

from __future__ import annotations

import json

import numpy as np
import pytest

from lightcl_edge.commands.evaluate import EvaluateCommand
from lightcl_edge.commands.predict import PredictCommand
from lightcl_edge.console.program import build_parser
from lightcl_edge.inference.learned_classifier import DEFAULT_FALSE_ALARMS, DEFAULT_UNSURE_BELOW
from small_bundle import make_bundle, make_folder


@pytest.fixture(scope="module")
def taught(edge, tmp_path_factory):
    folder = tmp_path_factory.mktemp("taught")
    bundle, data = make_bundle(folder / "bundle"), make_folder(folder / "data", ["red", "green"], count=90)
    edge("train", "--bundle", bundle, "--state", folder / "state", "--data", data, "--strategy", "slda", "--quiet")
    return folder / "state"


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Test images of the known classes, and of one that was never learned."""
    folder = tmp_path_factory.mktemp("photos")
    return make_folder(folder / "known", ["red", "green"], 20, seed=7), make_folder(
        folder / "new", ["blue"], 20, seed=8
    )


def prediction(top, unknown=False, unsure=False):
    named = [{"class": name, "probability": share} for name, share in top.items()]
    return {"image": "x.jpg", "top": named, "unknown": unknown, "unknown_score": 1.0, "unsure": unsure}


@pytest.mark.parametrize(
    ("document", "text"),
    [
        (prediction({"cat": 0.92, "dog": 0.051}), "x.jpg: cat 92.0%, dog 5.1%"),
        (prediction({"cat": 0.45, "dog": 0.4}, unsure=True), "x.jpg: unsure between cat and dog: cat 45.0%, dog 40.0%"),
        (prediction({"cat": 0.45}, unsure=True), "x.jpg: unsure: cat 45.0%"),
        (prediction({"cat": 0.72}, unknown=True, unsure=True), "x.jpg: never seen; most like cat 72.0%"),
    ],
)
def test_the_text_of_predict(document, text):
    assert PredictCommand().render({"predictions": [document]}) == text


def test_the_text_of_evaluate_begins_with_the_mean_over_classes():
    document = {
        "accuracy": 0.955,
        "balanced_accuracy": 0.817,
        "expected_calibration_error": 0.021,
        "false_alarm_rate": 0.05,
        "unknown_above": 3.0,
        "unknown_auroc": 0.91,
        "unknown_found": 0.625,
        "unknown_images": 40,
        "images": 1040,
        "skipped_images": 1,
        "unknown_classes": [],
        "page": None,
        "classes": ["cat", "dog"],
        "per_class": {"cat": {"accuracy": 0.99, "images": 1000}, "dog": {"accuracy": 0.6, "images": 40}},
        "confusion": {"cat": {"cat": 990, "dog": 10}, "dog": {"dog": 24, "cat": 16}},
    }
    lines = EvaluateCommand().render(document).splitlines()
    assert lines[0].startswith("accuracy 81.7%, mean over classes; 95.5% of 1040 images, among 2 classes")
    assert lines[0].endswith("1 could not be read") and "2.1%" in lines[1] and "5.0%" in lines[2]
    assert "62.5% of 40 images" in lines[3] and "AUROC 91.0%" in lines[3]
    assert lines[-1].split()[:3] == ["dog", "60.0%", "40"]
    untold = EvaluateCommand().render(document | {"unknown_above": None})
    assert "nothing can be called never seen yet" in untold and "by mistake" not in untold


def test_the_defaults_of_the_commands_are_those_of_the_interface():
    parser = build_parser("x", "x", [PredictCommand(), EvaluateCommand()], ["predict"])
    found = parser.parse_args(["predict", "--state", "s", "a.jpg"])
    assert (found.false_alarms, found.unsure_below) == (DEFAULT_FALSE_ALARMS, DEFAULT_UNSURE_BELOW)
    parser = build_parser("x", "x", [PredictCommand(), EvaluateCommand()], ["evaluate"])
    assert parser.parse_args(["evaluate", "--state", "s", "--data", "d"]).false_alarms == DEFAULT_FALSE_ALARMS


def test_what_a_training_holds_out_gives_the_threshold(edge, taught, photos):
    """From the command line alone: images of known classes are seldom called unknown, and evaluate counts the same."""
    known, new = photos

    def called(folder):
        found = json.loads(edge("predict", "--state", taught, folder, "--json")[0])
        above = found["unknown_above"]
        assert all(each["unknown"] is (each["unknown_score"] > above) for each in found["predictions"])
        return [each["unknown"] for each in found["predictions"]]

    document = json.loads(edge("evaluate", "--state", taught, "--data", known, "--unknown", new, "--json")[0])
    assert document["false_alarm_rate"] == pytest.approx(np.mean(called(known))) and document["false_alarm_rate"] < 0.25
    assert document["unknown_found"] == pytest.approx(np.mean(called(new))) and document["unknown_images"] == 20
    assert 0.5 < document["unknown_auroc"] <= 1
    assert 0 <= document["expected_calibration_error"] < 0.2


def test_unsure_below_sets_what_is_unsure(edge, taught, photos):
    for limit in (0.0, 0.999999, 1.0):
        found = json.loads(edge("predict", "--state", taught, photos[0], "--unsure-below", limit, "--json")[0])
        assert found["unsure_below"] == limit
        assert all(each["unsure"] is (each["top"][0]["probability"] < limit) for each in found["predictions"])


@pytest.mark.parametrize("value", ["-0.1", "1.1", "five", "nan"])
def test_shares_out_of_range_are_usage_errors(edge, taught, photos, value):
    for option in ("--false-alarms", "--unsure-below"):
        assert "expected a share of 0 to 1" in edge("predict", "--state", taught, photos[0], option, value, code=2)[1]


def test_an_unknown_folder_of_a_known_class_is_refused(edge, taught, photos):
    words = ("evaluate", "--state", taught, "--data", photos[0], "--unknown")
    assert "--unknown holds images of green, red" in edge(*words, photos[0], code=4)[1]
    assert "no image at" in edge(*words, photos[0] / "nothing", code=4)[1]
