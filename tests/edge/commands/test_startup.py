"""Starting is fast because nothing heavy is imported before it is needed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import lightcl_edge
import lightcl_profiler

ROOMS = [str(Path(package.__file__).parents[1]) for package in (lightcl_edge, lightcl_profiler)]
HEAVY = ("numpy", "onnxruntime", "PIL", "psutil", "safetensors", "torch", "onnx", "importlib.metadata", "inspect")


@pytest.mark.parametrize(
    ("statement", "spared"),
    [
        ("import lightcl_edge", (*HEAVY, "typing", "argparse")),
        ("main(['--help'])", HEAVY),
        ("main(['--version'])", HEAVY),
    ],
)
def test_help_imports_nothing_heavy(statement, spared):
    prepare = "" if statement.startswith("import") else "from lightcl_edge.cli import main\n"
    # -S: a development environment's own start imports half of the standard library
    code = f"""
import sys
sys.path[:0] = {ROOMS!r}
sys.path += {sys.path!r}
before = set(sys.modules)
{prepare}try: {statement}
except SystemExit: pass
print([name for name in {spared} if name in sys.modules and name not in before])
"""
    done = subprocess.run([sys.executable, "-S", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_help_knows_the_commands_of_other_rooms():
    command = [sys.executable, "-m", "lightcl_edge", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "profile" in done.stdout and "completion" in done.stdout
