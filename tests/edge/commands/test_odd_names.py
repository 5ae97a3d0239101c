"""File names that are no UTF-8, and class names that no terminal should be shown."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from lightcl_edge.data.class_names import check_class_names
from small_bundle import make_folder

ODD = os.fsdecode(b"bild-\xff\xe4.png")


@pytest.fixture
def odd(tmp_path):
    """A folder of two classes with one file whose name is no UTF-8."""
    data = make_folder(tmp_path / "d", ["red", "green"], count=6)
    (data / "red" / "0.png").rename(data / "red" / ODD)
    return data


def test_it_is_learned_predicted_and_told_of(edge, bundle, tmp_path, odd):
    (odd / "green" / os.fsdecode(b"torn\xff.png")).write_bytes(b"no image")
    common = ("--state", tmp_path / "s", "--engine", "ort", "--epochs", "1")
    out, _ = edge("train", "--bundle", bundle, "--data", odd, *common, "--json")
    document = json.loads(out)
    assert (document["images"], document["skipped_images"]) == (12, 1) and out.isascii()
    environment = {**os.environ, "PYTHONIOENCODING": "utf-8:strict"}
    command = [sys.executable, "-m", "lightcl_edge", "predict", "--state", tmp_path / "s", odd / "red" / ODD]
    done = subprocess.run(list(map(str, command)), env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "") and "bild-\\udcff\\udce4.png: " in done.stdout
    edge("history", "--state", tmp_path / "s", "--json")


def test_watch_learns_it(edge, bundle, tmp_path, odd):
    more = ("--settle", "0", "--interval", "0.05", "--once", "--train", "--engine ort --epochs 1 --threads 1")
    out, _ = edge("watch", odd, "--bundle", bundle, "--state", tmp_path / "s", "--json", *more)
    assert json.loads(out)["images"] == 12


def test_such_names_end_in_exit_code_4(edge, bundle, tmp_path):
    np.savez(tmp_path / "d.npz", x=np.zeros((4, 8, 8, 3), np.uint8), y=np.array(["a", "a", "", ""]))
    edge("train", "--bundle", bundle, "--state", tmp_path / "s", "--data", tmp_path / "d.npz", code=4)
    assert not (tmp_path / "s").exists()
    check_class_names(["red", "0", "katze 2", "Größe", "猫", "a'b", "."])


def test_a_state_under_such_a_name_is_refused_before_it_is_made(edge, bundle, tmp_path):
    data, state = make_folder(tmp_path / "d", ["red"], count=2), tmp_path / os.fsdecode(b"s\xff")
    assert "no UTF-8" in edge("train", "--bundle", bundle, "--state", state, "--data", data, code=6)[1]
    assert not state.exists()
