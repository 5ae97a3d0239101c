"""A user's mistakes: one clear message, the documented exit code, and the state as it was."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from lightcl_edge.bundle.manifest import FeatureInfo
from lightcl_edge.state.state import State
from small_bundle import make_bundle, make_folder


def snapshot(folder: Path) -> dict[str, bytes]:
    """Everything in a folder, the lock's owner, the journal and the count of bytes written aside."""
    files = (p for p in folder.rglob("*") if p.is_file() and p.name not in ("LOCK", "journal.jsonl", "written.json"))
    return {str(p.relative_to(folder)): p.read_bytes() for p in files}


@pytest.fixture(scope="module")
def learned(edge, tmp_path_factory):
    """A state after one task, and its data."""
    folder = tmp_path_factory.mktemp("learned")
    data, bundle = make_folder(folder / "data", ["red", "green"]), make_bundle(folder / "bundle")
    edge("train", "--bundle", bundle, "--state", folder / "state", "--data", data, "--engine", "ort", "--quiet")
    shutil.rmtree(bundle)
    return folder


@pytest.fixture
def taught(edge, learned, tmp_path):
    """A copy of them, and a function that checks that a failing command leaves the state alone."""
    shutil.copytree(learned, tmp_path, dirs_exist_ok=True)
    state, data = tmp_path / "state", tmp_path / "data"
    before = snapshot(state)

    def fails(*arguments, code, says):
        _, err = edge(*arguments, code=code)
        assert err.startswith("error: ") or "\nerror: " in err
        for words in [says] if isinstance(says, str) else says:
            assert words in err
        after = {name: data for name, data in snapshot(state).items() if not name.startswith("work/")}
        assert after == before

    return state, data, fails


def test_missing_bundle(edge, tmp_path):
    _, err = edge("verify", tmp_path / "nowhere", code=3)
    assert "no bundle at" in err and "lightcl-host export" in err
    out, _ = edge("verify", tmp_path / "nowhere", "--json", code=3)
    assert json.loads(out)["error"] == {"code": 3, "kind": "BundleError", "message": err.strip()[len("error: ") :]}


def test_truncated_trunk(edge, bundle, tmp_path):
    trunk = bundle / "trunk.onnx"
    trunk.write_bytes(trunk.read_bytes()[:-10])
    data = make_folder(tmp_path / "d", ["red", "green"])
    _, err = edge("train", "--bundle", bundle, "--state", tmp_path / "s", "--data", data, code=3)
    assert "trunk.onnx has" in err and "expected" in err
    assert not (tmp_path / "s").exists()


def test_wrong_hash(edge, bundle):
    head = bundle / "head.onnx"
    data = bytearray(head.read_bytes())
    data[100] ^= 1
    head.write_bytes(bytes(data))
    out, err = edge("verify", bundle, "--json", code=3)
    assert json.loads(out)["ok"] is False and "head.onnx is damaged: SHA-256" in err


def test_a_text_file_as_image_is_skipped_and_counted(edge, taught):
    state, data, _ = taught
    (data / "red" / "bad.png").write_text("not an image")
    out, _ = edge("train", "--state", state, "--data", data, "--engine", "ort", "--json")
    document = json.loads(out)
    assert document["skipped_images"] == 1 and "bad.png" in document["skipped"][0]


def test_a_text_file_to_predict(taught, tmp_path):
    state, _, fails = taught
    bad = tmp_path / "bad.png"
    bad.write_text("not an image")
    fails("predict", "--state", state, bad, code=4, says=["bad.png", "expected PNG, JPEG, WebP, BMP"])
    fails("predict", "--state", state, tmp_path / "none.png", code=4, says="no image at")


def test_a_truncated_image(taught):
    state, data, fails = taught
    image = data / "red" / "0.png"
    image.write_bytes(image.read_bytes()[:-60])
    fails("predict", "--state", state, image, code=4, says="0.png")


def test_classes_without_a_readable_image_do_not_stop_the_others(edge, taught):
    state, data, _ = taught
    for name in ("hollow", "torn", "hollow too"):
        (data / name).mkdir()
    (data / "torn" / "a.png").write_text("no")
    out, err = edge("train", "--state", state, "--data", data, "--engine", "ort", "--json")
    assert json.loads(out)["classes"] == ["green", "red"] and json.loads(out)["skipped_images"] == 1
    assert "the class folders hollow, hollow too, which hold no images" in err
    assert "nothing is learned of torn: none of the images can be read" in err
    assert len(json.loads(out)["notes"]) == 2


def test_no_class_with_a_readable_image(taught):
    state, data, fails = taught
    for name in ("red", "green"):
        shutil.rmtree(data / name)
    (data / "torn").mkdir()
    fails("train", "--state", state, "--data", data, code=4, says=["no class folder in", "holds images", "torn"])
    (data / "torn" / "a.png").write_text("no")
    fails("train", "--state", state, "--data", data, code=4, says=["none of the 1 images can be read", "a.png"])


def test_no_data(taught, tmp_path):
    state, _, fails = taught
    fails("train", "--state", state, "--data", tmp_path / "nowhere", code=4, says="no data at")
    (tmp_path / "flat").mkdir()
    fails("train", "--state", state, "--data", tmp_path / "flat", code=4, says="has no sub-folders")


def test_a_feature_shape_that_does_not_match(edge, tmp_path):
    bundle = make_bundle(tmp_path / "b", feature=FeatureInfo([16, 5, 5], [0.05], [0]))
    _, err = edge("verify", bundle, code=3)
    assert "(16, 4, 4)" in err and "(16, 5, 5)" in err
    data = make_folder(tmp_path / "d", ["red", "green"])
    edge("train", "--bundle", bundle, "--state", tmp_path / "s", "--data", data, code=3)
    assert not (tmp_path / "s" / "bundle").exists()


def test_an_unknown_class_on_evaluate(taught, tmp_path):
    state, _, fails = taught
    other = make_folder(tmp_path / "other", ["red", "blue"])
    fails("evaluate", "--state", state, "--data", other, code=4, says=["['blue']", "never learned", "train them"])


def test_another_bundle_than_the_states(taught, tmp_path):
    state, data, fails = taught
    other = make_bundle(tmp_path / "other", seed=1)
    fails("train", "--bundle", other, "--state", state, "--data", data, code=6, says="belongs to bundle")


def test_no_state(edge, tmp_path):
    assert "no state at" in edge("status", "--state", tmp_path / "none", code=6)[1]
    assert "no state at" in edge("predict", "--state", tmp_path / "none", "x.png", code=6)[1]
    train = ("train", "--state", tmp_path / "none", "--data", make_folder(tmp_path / "d", ["red"], count=1))
    assert "no state at" in edge(*train, code=6)[1] and "--bundle" in edge(*train, code=6)[1]


@pytest.mark.skipif(os.geteuid() == 0 and not Path("/usr/bin/setpriv").exists(), reason="root may write anywhere")
def test_a_read_only_state_directory(bundle, tmp_path):
    """Run as a user without rights, since root may write anywhere."""
    data, state = make_folder(tmp_path / "d", ["red", "green"]), tmp_path / "state"
    state.mkdir()
    state.chmod(0o555)
    for folder in (*tmp_path.parents, tmp_path):
        if folder.stat().st_uid == os.geteuid() and folder != Path("/"):
            folder.chmod(folder.stat().st_mode | 0o055)
    command = [sys.executable, "-m", "lightcl_edge", "train", "--bundle", bundle, "--state", state, "--data", data]
    if os.geteuid() == 0:
        command = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", *command]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    if "Permission denied" in done.stderr and "state" not in done.stderr:
        pytest.skip("an unprivileged user can't start this Python")
    assert done.returncode == 6 and "can't be written" in done.stderr and "Traceback" not in done.stderr


def test_too_little_memory(edge, bundle, tmp_path):
    data = make_folder(tmp_path / "d", ["red", "green"])
    arguments = ("train", "--bundle", bundle, "--state", tmp_path / "s", "--data", data)
    _, err = edge(*arguments, "--memory-budget", "20MiB", code=5)
    assert "the plan needs" in err and "20.0 MiB" in err
    assert not (tmp_path / "s").exists()
    edge(*arguments, "--memory-budget", "lots", code=2)


@pytest.mark.parametrize(
    "option", [("--epochs", "0"), ("--learning-rate", "-1"), ("--ratio", "2"), ("--no-such-option",)]
)
def test_usage(edge, bundle, tmp_path, option):
    data = make_folder(tmp_path / "d", ["red", "green"])
    edge("train", "--bundle", bundle, "--state", tmp_path / "s", "--data", data, *option, code=2)


def test_a_huge_learning_rate_does_no_harm(edge, taught, tmp_path):
    """Every step breaks the head, so that none is kept: weights stay as exported, rows in closed form are committed."""
    state, _, _ = taught
    mixed = make_folder(tmp_path / "mixed", ["red", "green"], seed=3)
    for index in range(5):
        os.rename(mixed / "red" / f"{index}.png", mixed / "green" / f"taken-{index}.png")
    arguments = ("train", "--state", state, "--data", mixed, "--engine", "ort", "--strategy", "replay")
    out, err = edge(*arguments, "--learning-rate", "3e38", "--json")
    document, held = json.loads(out), State(state)
    assert document["generation"] == 2 and document["holdout_accuracy"] > 0.6 and document["loss"] < 2
    assert err.count("the loss rose; training begins anew with smaller steps") == 4
    exported, learned = held.read(0).parameters, held.read(2).parameters
    assert (exported["block.weight"] == learned["block.weight"]).all()


def test_forgetting_beyond_the_limit_keeps_the_old_head(edge, bundle, tmp_path):
    data = make_folder(tmp_path / "data", ["red", "green"], count=40)
    wrong = make_folder(tmp_path / "swapped", ["red", "green"], count=40, seed=3)
    os.rename(wrong / "red", wrong / "x")
    os.rename(wrong / "green", wrong / "red")
    os.rename(wrong / "x", wrong / "green")
    state = tmp_path / "state"
    edge("train", "--bundle", bundle, "--state", state, "--data", data, "--quiet")
    before = snapshot(state)
    _, err = edge("train", "--state", state, "--data", wrong, "--epochs", "60", "--max-forgetting", "0.2", code=7)
    assert "fell from" in err and "--max-forgetting" in err
    assert snapshot(state) == before


def test_a_damaged_generation(edge, taught):
    state, *_ = taught
    head = state / "generations" / "000001" / "head.safetensors"
    head.write_bytes(head.read_bytes()[:-4] + b"abcd")
    assert "is damaged" in edge("predict", "--state", state, "x.png", code=6)[1]


def test_a_folder_of_other_things_is_no_state(edge, bundle, tmp_path):
    data = make_folder(tmp_path / "photos", ["red", "green"])
    for place in (data, bundle):
        before = snapshot(place)
        _, err = edge("train", "--bundle", bundle, "--state", place, "--data", data, code=6)
        assert "holds other things and is no state" in err
        assert snapshot(place) == before


def test_a_failed_task_leaves_no_interrupted_one(edge, taught):
    state, data, fails = taught
    for path in data.rglob("*.png"):
        path.write_text("no")
    fails("train", "--state", state, "--data", data, code=4, says="none of the 24 images")
    assert json.loads(edge("status", "--state", state, "--json")[0])["interrupted_task"] is False


@pytest.mark.parametrize("option", [("--seed", "-1"), ("--max-forgetting", "nan"), ("--threads", "9999")])
def test_options_out_of_range(edge, taught, option):
    state, data, fails = taught
    fails(
        "train",
        "--state",
        state,
        "--data",
        data,
        *option,
        code=2,
        says="expected",
    )


def test_broken_arrays(taught, tmp_path):
    import numpy as np

    state, _, fails = taught
    np.savez(tmp_path / "whole.npz", x=np.zeros((9, 8, 8), np.uint8), y=np.arange(9) % 2)
    data = (tmp_path / "whole.npz").read_bytes()
    (tmp_path / "cut.npz").write_bytes(data[: len(data) // 2])
    np.save(tmp_path / "single.npy", np.zeros(3))
    os.rename(tmp_path / "single.npy", tmp_path / "single.npz")
    np.savez(tmp_path / "flat.npz", x=np.zeros((3, 0, 8), np.uint8), y=np.arange(3))
    for name in ("cut", "single", "flat"):
        fails("train", "--state", state, "--data", tmp_path / f"{name}.npz", code=4, says=f"{name}.npz")


def test_rollback_goes_to_the_parent(edge, taught):
    state, data, _ = taught
    for _ in range(2):
        edge("train", "--state", state, "--data", data, "--quiet")
    edge("rollback", "--state", state, "--to", "1")
    edge("train", "--state", state, "--data", data, "--quiet")
    assert json.loads(edge("rollback", "--state", state, "--json")[0])["generation"] == 1
    edge("rollback", "--state", state, "--to", "0")
    assert "0*" in edge("history", "--state", state)[0]
    assert "generation 0 is the bundle itself" in edge("rollback", "--state", state, code=6)[1]
