"""The examples of the documents run as they are."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"


def test_the_notebook_runs_from_top_to_bottom(tmp_path):
    """As a notebook does it: one cell after the other in one Python."""
    cells = json.loads((EXAMPLES / "prepare.ipynb").read_text())["cells"]
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    assert all(not cell.get("outputs") for cell in cells)  # what a reader sees is what their own machine printed
    done = subprocess.run(
        [sys.executable, "-c", "\n\n".join(code)], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.splitlines()[-1] == "generation 1: ['apple', 'plum']"
    pixels = next(line for line in done.stdout.splitlines() if line.startswith("input "))
    assert "(pixel of 0..1 - 0.5, 0.5, 0.5) / 0.5, 0.5, 0.5, RGB" in pixels
    assert "assumed: channel_order" in pixels and "mean" not in pixels


@pytest.fixture
def pictures(tmp_path):
    import numpy as np
    from PIL import Image

    for name, colour in {"red": (220, 30, 30), "blue": (30, 30, 220)}.items():
        noise = np.random.default_rng(0).normal(0, 20, (48, 64, 3))
        Image.fromarray(np.clip(noise + colour, 0, 255).astype(np.uint8)).save(tmp_path / f"{name}.jpg")
    return tmp_path


def test_the_camera_says_what_it_was_taught(bundle, pictures):
    """A link takes the place of the camera's view: the program that takes a picture copies what it points at."""

    def camera(view, lines):
        take = f"cp {pictures / view}.jpg {{}}"
        command = [sys.executable, EXAMPLES / "camera.py", bundle, pictures / "state", "--take", take]
        done = subprocess.run(command, input=lines, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    assert camera("red", "\nred\n") == ["nothing learned yet: type a name", "generation 1 knows red"]
    assert camera("blue", "blue\n\n")[-1].startswith("blue ")
    assert camera("red", "\n")[0].startswith("red ")
