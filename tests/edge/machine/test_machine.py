"""What the kernel tells about free memory, and what a training does without."""

from __future__ import annotations

import subprocess
import sys

import psutil
import pytest

from lightcl_edge.machine.memory_limits import machine_available_bytes


def test_available_memory_is_the_kernels_figure(tmp_path):
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal:       16000 kB\nMemAvailable:    1234 kB\n")
    assert machine_available_bytes(meminfo) == 1234 * 1024
    asked = psutil.virtual_memory().available
    assert machine_available_bytes() == pytest.approx(asked, rel=0.2)
    meminfo.write_text("MemFree: 5 kB\n")
    assert machine_available_bytes(meminfo) == pytest.approx(asked, rel=0.2)


def test_a_training_imports_nothing_it_can_do_without():
    code = "import sys, lightcl_edge.learning.train, lightcl_edge.commands.train; print(*sys.modules)"
    loaded = set(
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    )
    assert not loaded & {"psutil", "torch", "onnx", "matplotlib", "lightcl_profiler"}
