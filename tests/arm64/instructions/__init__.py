"""Counts the instructions of an emulated program, which are the same whatever machine emulates it.

The emulator that the kernel starts is a static program and loads no plugin. So the one that does, its libraries and the
plugin lie in a folder of their own, which is mounted over the container's ``/mnt``.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

#: The emulator that loads plugins.
QEMU = "qemu-aarch64"
PROGRAMS = {QEMU: "qemu-user", "cc": "gcc"}
#: Of every Debian.
PLACE = "/mnt"
SOURCE = Path(__file__).with_name("plugin.c")
_OUT = "instructions"


def build(folder: Path, qemu: str = QEMU) -> Path:
    """Put together what counts.

    Args:
        folder: where it goes, instead of what is there.
        qemu: the emulator's name.

    Returns:
        ``folder``.
    """
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    subprocess.run(["cc", "-O2", "-Wall", "-fPIC", "-shared", "-o", str(folder / "count.so"), str(SOURCE)], check=True)
    program = shutil.which(qemu) or qemu
    needs = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
    for library in re.findall(r"(/\S+) \(0x", needs):
        shutil.copy(library, folder)
    shutil.copy(program, folder / "qemu")
    next(folder.glob("ld-*")).rename(folder / "ld.so")
    return folder


def command(argv: Sequence[str], place: str, out: str) -> list[str]:
    """What to run instead of a program so that it is counted; what it starts itself is not.

    Args:
        argv: the program's path, not its name alone, and its arguments.
        place: where the folder of :func:`build` is seen.
        out: folder that gets the count.

    Returns:
        Program and arguments.
    """
    plugin = f"{place}/count.so,out={out}/{_OUT}"
    return [f"{place}/ld.so", "--library-path", place, f"{place}/qemu", "-plugin", plugin, *argv]


def counted(folder: Path) -> int:
    """The count that a program left in the folder; takes it away."""
    path = folder / _OUT
    count = int(path.read_text())
    path.unlink()
    return count
