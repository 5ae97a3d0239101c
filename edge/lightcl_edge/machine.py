"""What this machine is, as far as the kernel tells."""

from __future__ import annotations

import os
import platform
import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

PACKAGES = ("lightcl-edge", "numpy", "onnxruntime", "torch", "onnx", "timm", "Pillow", "safetensors")
#: A version-1 group without a limit says a number close to 2**63.
_UNLIMITED_BYTES = 2**60
_MEMINFO = Path("/proc/meminfo")


@dataclass(frozen=True)
class Machine:
    """Where it was measured.

    Attributes:
        board: the device tree's model, where there is one.
        cpu_model: the processor.
        architecture: ``x86_64``, ``aarch64``.
        cores: this process may use.
        ram_bytes: physical memory.
        page_size_bytes: of the kernel.
        kernel: name and release.
        python: version.
        packages: installed versions.
        cgroup: ``v1``, ``v2`` or ``unavailable``.
        cgroup_limit_bytes: memory limit of the control group, None when there is none.
    """

    board: str | None
    cpu_model: str
    architecture: str
    cores: int
    ram_bytes: int
    page_size_bytes: int
    kernel: str
    python: str
    packages: dict[str, str]
    cgroup: str
    cgroup_limit_bytes: int | None


def _text(path: str) -> str:
    with suppress(OSError, UnicodeDecodeError):
        return Path(path).read_text().strip("\0\n ")
    return ""


def _cpu_model() -> str:
    """The processor's name, or the part numbers that ARM kernels give instead."""
    fields: dict[str, str] = {}
    for line in _text("/proc/cpuinfo").splitlines():
        name, _, value = line.partition(":")
        fields.setdefault(name.strip(), value.strip())
    if "model name" in fields:
        return fields["model name"]
    parts = [f"{name} {fields[name]}" for name in ("CPU implementer", "CPU part") if name in fields]
    return ", ".join(parts) or platform.processor() or "unknown"


def usable_cores() -> int:
    """The cores this process may use; onnxruntime does not ask (it ignores affinity and cgroup limits)."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def machine_available_bytes(meminfo: Path = _MEMINFO) -> int:
    """Memory that the whole machine could still give out.

    Read from the kernel where it tells: importing psutil costs 2 MiB, which a training would carry to its end.

    Args:
        meminfo: the kernel's file.

    Returns:
        Bytes.
    """
    with suppress(OSError):
        found = re.search(r"^MemAvailable:\s*(\d+) kB", meminfo.read_text(), re.MULTILINE)
        if found:
            return int(found[1]) * 1024
    import psutil

    return int(psutil.virtual_memory().available)


def _group_path(controller: str) -> str | None:
    """This process's path in the hierarchy of a version-1 controller, or of version 2 (empty name)."""
    for line in _text("/proc/self/cgroup").splitlines():
        _, names, path = line.split(":", 2)
        if controller in names.split(","):
            return path
    return None


def _limits(root: Path, group: str, name: str) -> list[tuple[Path, int]]:
    """The limits of a group and all above it: each of them holds. Empty when none can be read."""
    found = []
    folder = root / group.strip("/")
    while True:
        with suppress(OSError, ValueError):
            text = (folder / name).read_text().strip()
            found.append((folder, _UNLIMITED_BYTES if text == "max" else int(text)))
        if folder == root or root not in folder.parents:
            return found
        folder = folder.parent


def _group_limits() -> tuple[str, list[tuple[Path, int]]]:
    """The kind of control group, and the folder and limit of each level that holds for this process."""
    for kind, controller, root, name in (
        ("v1", "memory", "/sys/fs/cgroup/memory", "memory.limit_in_bytes"),
        ("v2", "", "/sys/fs/cgroup", "memory.max"),
    ):
        group = _group_path(controller)
        limits = [] if group is None else _limits(Path(root), group, name)
        if limits:
            return kind, limits
    return "unavailable", []


def cgroup_limit() -> tuple[str, int | None]:
    """The memory control group.

    Returns:
        ``v1``, ``v2`` or ``unavailable`` (stock Raspberry Pi kernels switch it off), and the smallest limit
        in bytes that holds for this process, or None when there is none.
    """
    kind, limits = _group_limits()
    smallest = min((limit for _, limit in limits), default=_UNLIMITED_BYTES)
    return kind, smallest if smallest < _UNLIMITED_BYTES else None


def cgroup_room_bytes() -> int | None:
    """What the control group leaves to this process, its present size included; None when nothing limits it.

    Others in a limited group (a watcher beside its training) count with what the kernel can't take back from them:
    their anonymous and shared memory. Pages of files are left out: they go when memory runs short.
    """
    own = _kib_field("/proc/self/status", "RssAnon")
    rooms = []
    for folder, limit in _group_limits()[1]:
        if limit < _UNLIMITED_BYTES:
            rooms.append(limit - max(0, _held_bytes(folder) - own))
    return min(rooms, default=None)


def _held_bytes(folder: Path) -> int:
    """Memory of a group that can't be taken back: version 1 calls it total_rss, version 2 anon."""
    fields = dict(line.split()[:2] for line in _text(str(folder / "memory.stat")).splitlines() if " " in line)
    if "total_rss" in fields:
        return int(fields["total_rss"]) + int(fields.get("total_shmem", 0))
    return int(fields.get("anon", 0)) + int(fields.get("shmem", 0))


def _kib_field(path: str, name: str) -> int:
    """A ``Name: N kB`` line of a file in ``/proc``, in bytes; 0 where there is none."""
    for line in _text(path).splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    return 0


def describe_machine() -> Machine:
    """This machine and what is installed on it."""
    from importlib.metadata import PackageNotFoundError, version

    packages = {}
    for name in PACKAGES:
        with suppress(PackageNotFoundError):
            packages[name] = version(name)
    page_bytes = os.sysconf("SC_PAGE_SIZE")
    kind, limit = cgroup_limit()
    return Machine(
        board=_text("/proc/device-tree/model") or None,
        cpu_model=_cpu_model(),
        architecture=platform.machine(),
        cores=usable_cores(),
        ram_bytes=page_bytes * os.sysconf("SC_PHYS_PAGES"),
        page_size_bytes=page_bytes,
        kernel=f"{platform.system()} {platform.release()}",
        python=platform.python_version(),
        packages=packages,
        cgroup=kind,
        cgroup_limit_bytes=limit,
    )
