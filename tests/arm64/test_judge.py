"""A machine that does as this one passes; one that learned something else, or sees something else, does not."""

from __future__ import annotations

import contextlib
import io
import shutil

import numpy as np
import pytest

from arm64.judge import judge
from small_bundle import make_bundle, make_folder

ANSWER = {"top": [{"class": "red", "probability": 0.9}, {"class": "green", "probability": 0.1}]}
TORN = {"resumed": True, "head_sha256": "aa"}
RESULTS = {
    "predict fp32": {"predictions": [ANSWER]},
    "predict int8": {"predictions": [ANSWER]},
    "train fp32": {"head_sha256": "aa"},
    "kill and resume": TORN,
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """What three machines left: two alike, one that learned from other pictures and sees noise."""
    from lightcl_edge.cli import main

    work = tmp_path_factory.mktemp("machines")
    bundle = make_bundle(work / "bundle")
    rng = np.random.default_rng(0)
    features = rng.normal(size=(4, 16)).astype(np.float32)
    for name, seed, noise in (("this", 0, 0.0), ("same", 0, 1e-7), ("other", 1, 1e-3)):
        state = work / name / "learned-fp32"
        if name == "same":
            shutil.copytree(work / "this" / "learned-fp32", state)
        else:
            data = make_folder(work / "data" / name, ["red", "green"], seed=seed)
            options = ["--state", str(state), "--data", str(data), "--epochs", "2", "--strategy", "finetune", "--quiet"]
            with contextlib.redirect_stdout(io.StringIO()):
                assert main(["train", "--bundle", str(bundle), *options]) == 0
        shutil.copytree(state, work / name / "learned-int8")
        arrays = {f"pixels.bundle-{dtype}": np.zeros((2, 4, 4, 3), np.uint8) for dtype in ("fp32", "int8")}
        arrays["features.bundle-fp32"] = features + noise * rng.normal(size=features.shape)
        arrays["features.bundle-int8"] = features * 1.05 + noise
        (work / name / "features").mkdir()
        np.savez(work / name / "features" / "features.npz", **arrays)
    return work


def failed(drifts):
    return [drift.what for drift in drifts if not drift.passes]


def test_a_machine_that_does_the_same_passes(folders):
    drifts = judge(RESULTS, folders / "same", RESULTS, folders / "this")
    assert failed(drifts) == [] and len(drifts) == 15


def test_other_weights_and_features_do_not(folders):
    found = failed(judge(RESULTS, folders / "other", RESULTS, folders / "this"))
    assert {"fp32: features", "fp32: trained weights", "int8: trained weights"} <= set(found)


def test_another_answer_and_a_broken_resume_do_not(folders):
    wrong = {"top": [{"class": "green", "probability": 0.6}, {"class": "red", "probability": 0.4}]}
    changed = {**RESULTS, "predict fp32": {"predictions": [wrong]}, "kill and resume": {**TORN, "resumed": False}}
    assert failed(judge(changed, folders / "same", RESULTS, folders / "this")) == [
        "fp32: pictures with another first class, unless undecided",
        "fp32: largest difference of a probability",
        "killed and resumed: other weights than uninterrupted",
    ]
