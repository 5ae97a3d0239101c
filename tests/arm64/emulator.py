"""Running arm64 programs here: what that needs, and a process in a root file system as a container would have it."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from arm64 import instructions
from arm64.processors import Processor

BINFMT = Path("/proc/sys/fs/binfmt_misc")
HANDLER = "qemu-aarch64"
QEMU = "qemu-aarch64-static"
PROGRAMS = {
    QEMU: "qemu-user-static",
    "debootstrap": "debootstrap",
    "unshare": "util-linux",
    "mount": "mount",
    "chroot": "coreutils",
    **instructions.PROGRAMS,
}
#: The 20 bytes an aarch64 ELF file begins with, and which of their bits count (binfmt_misc's own notation).
_MAGIC = r"\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00"
_MASK = r"\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff"
_SEARCH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

#: Mounts what a container gets, in a mount namespace of this process alone: it ends with the process.
_ENTER = """
set -eu
root=$1; processor=$2; shift 2
mount --make-rprivate /
mount --bind "$root" "$root"
mount -t proc proc "$root/proc"
mount --bind "$processor/cpuinfo" "$root/proc/cpuinfo"
mount --bind "$processor/sys" "$root/sys"
mount -o remount,bind,ro "$root/sys"
mount -t tmpfs -o mode=755 tmpfs "$root/dev"
for node in null zero full random urandom; do
    : >"$root/dev/$node"
    mount --bind "/dev/$node" "$root/dev/$node"
done
mkdir -m 1777 "$root/dev/shm"
while [ "$1" != -- ]; do
    mount --bind "$2" "$root$3"
    [ "$1" = rw ] || mount -o remount,bind,ro "$root$3"
    shift 3
done
shift
[ "$READ_ONLY" = no ] || mount -o remount,bind,ro "$root"
cd /
exec "$@"
"""


class CantEmulateError(Exception):
    """This machine can't run arm64 programs; the message says what to do."""


def missing(
    *, user: int | None = None, search: str | None = None, system: str | None = None, binfmt: Path = BINFMT
) -> str | None:
    """What keeps this machine from emulating.

    Args:
        user: its number; None for this process's.
        search: where programs are looked for; None for the path.
        system: the kernel; None for this machine's.
        binfmt: where the kernel lists its handlers.

    Returns:
        Why not and what to do, or None when all is there.
    """
    if (system or platform.system()) != "Linux":
        return f"found {system or platform.system()}, expected Linux: its kernel hands arm64 programs to the emulator"
    if (os.geteuid() if user is None else user) != 0:
        return "found an ordinary user, expected root (for chroot and mounts): run sudo make test-arm64"
    lacking = [package for program, package in PROGRAMS.items() if not shutil.which(program, path=search)]
    if lacking:
        return f"found no {', '.join(lacking)}; run apt-get install {' '.join(lacking)}"
    if not binfmt.is_dir():
        return f"found no {binfmt}: this kernel has no binfmt_misc; load it with modprobe binfmt_misc"
    return None


def require() -> None:
    """Make the kernel hand arm64 programs to the emulator.

    Raises:
        CantEmulateError: when something is missing, or the kernel refuses.
    """
    why = missing()
    if why:
        raise CantEmulateError(why)
    if not (BINFMT / "register").exists():
        subprocess.run(["mount", "-t", "binfmt_misc", "binfmt_misc", str(BINFMT)], check=False, capture_output=True)
    handler = BINFMT / HANDLER
    if not handler.exists():
        rule = f":{HANDLER}:M::{_MAGIC}:{_MASK}:{shutil.which(QEMU)}:F"
        with suppress(OSError):
            (BINFMT / "register").write_text(rule)
    if not handler.exists():
        raise CantEmulateError(
            f"found no handler {handler} and the kernel accepts none (in a container? give it --privileged); "
            "or install qemu-user-static with binfmt-support on the host"
        )
    usable = usable_handler(handler.read_text())
    if usable:
        raise CantEmulateError(f"{handler}: {usable}")


def usable_handler(text: str) -> str | None:
    """What is wrong with a handler as the kernel describes it; None when nothing is."""
    flags = re.search(r"^flags: (\w*)$", text, re.M)
    if not text.startswith("enabled"):
        return "found it disabled; write 1 into it"
    if not flags or "F" not in flags.group(1):
        return (
            f"found flags {flags.group(1) if flags else 'none'!r}, expected F among them (the emulator is found from "
            "inside a chroot only then); write -1 into it and run this again"
        )
    return None


def emulator_version() -> str:
    """Such as ``7.2.19``."""
    text = subprocess.run([QEMU, "--version"], capture_output=True, text=True, check=True).stdout
    found = re.search(r"version (\S+)", text)
    return found.group(1) if found else "unknown"


@dataclass(frozen=True)
class Bind:
    """A folder of this machine inside the root file system.

    Attributes:
        source: the folder.
        place: where it appears; must exist in the root file system.
        writable: whether what runs there may change it.
    """

    source: Path
    place: str
    writable: bool = False


@dataclass(frozen=True)
class Root:
    """A root file system to run things in.

    Attributes:
        folder: where it is.
        processor: to emulate.
        description: folder that :meth:`Processor.describe` wrote.
        binds: folders to mount.
        read_only: as ``docker run --read-only``.
        user: number of user and group.
        environment: all that the process gets.
    """

    folder: Path
    processor: Processor
    description: Path
    binds: Sequence[Bind] = ()
    read_only: bool = False
    user: int = 0
    environment: Mapping[str, str] = field(default_factory=lambda: {"PATH": _SEARCH})

    def command(self, argv: Sequence[str]) -> list[str]:
        """What to execute so that ``argv`` runs inside; the process that is started becomes it."""
        folder = str(self.folder.resolve())
        mounts = [word for b in self.binds for word in ("rw" if b.writable else "ro", str(b.source.resolve()), b.place)]
        values = [f"{name}={value}" for name, value in {**self.environment, "QEMU_CPU": self.processor.name}.items()]
        read_only = f"READ_ONLY={'yes' if self.read_only else 'no'}"
        enter = ["env", read_only, "sh", "-c", _ENTER, "enter", folder, str(self.description.resolve()), *mounts, "--"]
        chroot = shutil.which("chroot", path=_own()["PATH"]) or "chroot"  # what runs inside has another path
        own = ["env", "-i", *values, chroot, "--groups=", f"--userspec={self.user}:{self.user}", folder]
        return ["nice", "-n", "10", "unshare", "--mount", *enter, *own, *argv]

    def run(self, argv: Sequence[str], timeout_seconds: float = 3600.0) -> subprocess.CompletedProcess[str]:
        """Run to the end, whatever the exit code."""
        return subprocess.run(
            self.command(argv), capture_output=True, text=True, timeout=timeout_seconds, check=False, env=_own()
        )

    def start(self, argv: Sequence[str], output: Path, errors: Path) -> subprocess.Popen[bytes]:
        """Start and return; the process's id is that of the emulated program."""
        with output.open("wb") as out, errors.open("wb") as err:
            return subprocess.Popen(self.command(argv), stdout=out, stderr=err, env=_own())


def _own() -> dict[str, str]:
    """The environment of the programs that enter: sbin is not on everybody's path."""
    return {"PATH": f"{os.environ.get('PATH', '')}:{_SEARCH}", "LC_ALL": "C"}
