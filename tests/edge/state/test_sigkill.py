"""SIGKILL at random instants of a real training: see ``tests/kill_training.py``."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

COMMAND = Path(__file__).parents[2] / "kill_training.py"


def kill(instants, tmp_path):
    command = [sys.executable, COMMAND, "--instants", str(instants), "--seed", "3", "--out", tmp_path / "seen.json"]
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    return json.loads((tmp_path / "seen.json").read_text())["seen"]


def test_a_few_instants(tmp_path):
    assert kill(8, tmp_path)["kills"] >= 8


@pytest.mark.slow
def test_five_hundred_instants(tmp_path):
    seen = kill(500, tmp_path)
    assert seen["kills"] >= 500 and seen["training, with a checkpoint"] > 50
