"""What the image installs is pinned, all of it."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import requires
from pathlib import Path

import pytest

from arm64.wheels import needed

pytest.importorskip("tomllib")
ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "edge" / "docker"))

import pins  # noqa: E402


def test_a_later_file_replaces_pins(tmp_path):
    first, second = tmp_path / "a.txt", tmp_path / "b.txt"
    first.write_text("# exact\nTyping_Extensions==4.1\ntorch==2.13.0  # newest\n\n")
    second.write_text("torch==2.8.0\n")
    assert pins.join([first, second]) == {"typing-extensions": "4.1", "torch": "2.8.0"}


@pytest.mark.parametrize(
    ("text", "message"),
    [("numpy>=2\n", "found 'numpy>=2', expected name==version"), ("a==1\nA==2\n", "A is pinned twice")],
)
def test_anything_but_one_exact_pin_is_refused(tmp_path, text, message):
    path = tmp_path / "c.txt"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        pins.join([path])
    command = [sys.executable, str(ROOT / "edge/docker/pins.py"), "constraints", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1 and message in done.stderr and not done.stdout


def test_the_image_s_torch_is_the_one_for_every_pi():
    joined = pins.join([ROOT / "constraints.txt", ROOT / "constraints-arm64.txt"])
    assert joined["torch"] == "2.8.0"
    assert pins.join([ROOT / "constraints.txt"])["torch"] != "2.8.0"


@pytest.mark.parametrize("torch", [False, True])
def test_all_that_is_installed_on_arm64_is_pinned(torch):
    joined = pins.join([ROOT / "constraints.txt", ROOT / "constraints-arm64.txt"])
    waiting, seen = needed(pins.requirements(ROOT / "pyproject.toml", torch=torch)), set()
    assert ("torch" in waiting) == torch
    while waiting:
        name = waiting.pop()
        assert name in joined, f"{name} has no pin"
        if name not in seen:
            seen.add(name)
            waiting += needed(requires(name) or [])
    assert {"numpy", "onnxruntime", "pillow"} <= seen and not any(name.startswith("nvidia") for name in seen)


def test_requirements_of_other_platforms_do_not_count():
    listed = ["a", 'b; platform_machine == "x86_64"', 'c; python_version >= "3.11"', 'd; extra == "more"']
    assert needed(listed) == ["a", "c"] and needed(listed, ["more"]) == ["a", "c", "d"]
