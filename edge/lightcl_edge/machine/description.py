"""What this machine is, as far as the kernel tells."""

from __future__ import annotations

import os
import platform
from contextlib import suppress
from dataclasses import dataclass

from lightcl_edge.machine.limits import _text, cgroup_limit

PACKAGES = ("lightcl-edge", "numpy", "onnxruntime", "torch", "onnx", "timm", "Pillow", "safetensors")


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
