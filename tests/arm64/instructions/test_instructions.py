"""The plugin counts a program of this machine too, run by the emulator of its own processor."""

from __future__ import annotations

import platform
import shutil
import subprocess
from pathlib import Path

import pytest

from arm64.instructions import build, command, counted

QEMU = f"qemu-{platform.machine()}"


@pytest.mark.skipif(not (shutil.which(QEMU) and shutil.which("cc")), reason=f"{QEMU} and a C compiler are not here")
def test_instructions_are_counted_alike_and_grow_with_the_work(tmp_path: Path) -> None:
    place = str(build(tmp_path / "counting", QEMU))

    def count(argv: list[str]) -> int:
        subprocess.run(command(argv, place, str(tmp_path)), check=True)
        return counted(tmp_path)

    shell = str(Path("/bin/sh").resolve())
    loop = "i=0; while [ $i -lt {} ]; do i=$((i+1)); done"
    nothing, some, twice = (count([shell, "-c", loop.format(times)]) for times in (0, 1000, 2000))
    assert count([shell, "-c", loop.format(1000)]) == pytest.approx(some, rel=0.01)
    assert twice - some == pytest.approx(some - nothing, rel=0.1) and some - nothing > 100_000
