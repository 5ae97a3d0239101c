"""What a training does without."""

from __future__ import annotations

import subprocess
import sys


def test_a_training_imports_nothing_it_can_do_without():
    code = "import sys, lightcl_edge.learning.train, lightcl_edge.commands.train; print(*sys.modules)"
    loaded = set(
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    )
    assert not loaded & {"psutil", "torch", "onnx", "matplotlib", "lightcl_profiler"}
