"""What this machine is, as far as the kernel tells."""

import os
import platform
from contextlib import suppress
from dataclasses import dataclass

from lightcl_edge.machine.memory_limits import cgroup_limit, kernel_text

PACKAGES = ("lightcl-edge", "numpy", "onnxruntime", "torch", "onnx", "timm", "Pillow", "safetensors")


@dataclass(frozen=True)
class Machine:
    board: str | None  # the device tree's model, if there is one
    cpu_model: str
    architecture: str  # x86_64, aarch64
    cores: int  # that this process may use
    ram_bytes: int
    page_size_bytes: int
    kernel: str  # name and release
    python: str  # version
    packages: dict[str, str]  # installed versions
    cgroup: str  # v1, v2 or unavailable
    cgroup_limit_bytes: int | None  # memory limit of the control group


def _cpu_model() -> str:
    fields: dict[str, str] = {}
    for line in kernel_text("/proc/cpuinfo").splitlines():
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
    from importlib.metadata import PackageNotFoundError, version

    packages = {}
    for name in PACKAGES:
        with suppress(PackageNotFoundError):
            packages[name] = version(name)
    page_bytes = os.sysconf("SC_PAGE_SIZE")
    kind, limit = cgroup_limit()
    return Machine(
        board=kernel_text("/proc/device-tree/model") or None,
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
