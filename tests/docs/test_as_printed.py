"""Every command of the README and then of the owner's tutorial runs as printed, in one fresh environment.

A comment before a block says what the test does otherwise: ``<!-- test: skip, WHY -->``, or
``<!-- test: in board; until WORDS; PRINTED => RUN; ... -->``. ``until`` ends a server once it prints the words. The
computer's folder is a copy of the source; the board is another folder, with a home and programs of its own.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from photos import make_photos

ROOT = Path(__file__).parents[2]
PAGES = ["README.md", "docs/owners/raspberry-pi.md"]
BLOCK = re.compile(r"(?:<!-- test: (?P<marker>.*?) -->\n)?```sh\n(?P<lines>.*?)```", re.S)


@dataclass
class Block:
    """The commands of one fenced block."""

    place: str
    script: str
    skipped: bool
    until: str = ""


def blocks_of(page):
    for match in BLOCK.finditer(page):
        place, script, until = "computer", match["lines"], ""
        notes = [each.strip() for each in (match["marker"] or "").split(";")]
        for note in notes:
            if note.startswith("in "):
                place = note.removeprefix("in ")
            elif note.startswith("until "):
                until = note.removeprefix("until ")
            elif " =>" in note:
                printed, run = (each.strip() for each in note.split(" =>"))
                assert printed in script, f"{printed!r} is in the marker and not in the block"
                script = script.replace(printed, run)
        yield Block(place, script, notes[0].startswith("skip"), until)


def test_markers_are_read():
    blocks = [
        "<!-- test: in board; A => b -->\n```sh\nrun A\n```",
        "<!-- test: skip, why; until http: -->\n```sh\nx\n```",
        "```sh\ny\n```",
    ]
    page = "\n".join(blocks)
    assert list(blocks_of(page)) == [
        Block("board", "run b\n", False),
        Block("computer", "x\n", True, "http:"),
        Block("computer", "y\n", False),
    ]


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """The computer with a copy of the source, and a board that is empty."""
    folder = tmp_path_factory.mktemp("printed")
    names = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout.split(b"\0")
    for name in filter(None, map(os.fsdecode, names)):
        if (ROOT / name).is_file() and not name.startswith("profiles/reports"):
            (folder / "computer" / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, folder / "computer" / name)
    (folder / "board").mkdir()
    cats = ["my-cat", "neighbours-cat"]
    for kind, classes in {"photos": cats, "test": cats, "more": ["fox"], "new": cats}.items():
        make_photos(folder / "computer" / kind, classes, count=12, size=(320, 240), seed=len(kind))
    return folder


def run(block, places):
    """Run a block in a shell that knows only what a new user has; gives its output."""
    folder = places / block.place
    programs = [folder / ".venv" / "bin", folder / ".local" / "bin", Path(sys.base_prefix) / "bin", "/usr/bin", "/bin"]
    environment = {name: value for name, value in os.environ.items() if name.startswith("PIP_")} | {
        "HOME": str(folder),
        "PATH": os.pathsep.join(map(str, programs)),
        "PIP_CACHE_DIR": os.environ.get("PIP_CACHE_DIR", str(Path.home() / ".cache" / "pip")),
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PIP_NO_COMPILE": "1",
        "PIP_QUIET": "1",
        "LANG": "C.UTF-8",
    }
    shell = ["bash", "-euo", "pipefail", "-c", block.script]
    out = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True, "start_new_session": True}
    with subprocess.Popen(shell, cwd=folder, env=environment, **out) as process:
        printed = ""
        for line in process.stdout:
            printed += line
            if block.until and block.until in line:
                os.killpg(process.pid, signal.SIGTERM)
                return printed
    assert process.returncode == 0 and not block.until, f"{block.script}\n{printed[-5000:]}"
    return printed


@pytest.mark.slow
def test_every_command_runs_as_printed(places):
    for page in PAGES:
        blocks = list(blocks_of((ROOT / page).read_text(encoding="utf-8")))
        printed = "".join(run(block, places) for block in blocks if not block.skipped)
        assert "generation 1: learned my-cat, neighbours-cat from 24 images" in printed, page
