"""Memory that RSS leaves out: what the whole machine lost, NVIDIA's allocations, torch's CUDA allocator.

On a Jetson the CPU and the GPU share one DRAM. These figures overlap, so they stand side by side and are never summed.
"""

import re
import sys
from contextlib import suppress
from pathlib import Path

_MEMINFO = Path("/proc/meminfo")
_NVMAP = Path("/sys/kernel/debug/nvmap/iovmm/clients")


def mem_available_bytes(path: Path = _MEMINFO) -> int | None:
    """What the kernel could still give to programs, of the whole machine."""
    with suppress(OSError):
        found = re.search(r"^MemAvailable:\s*(\d+) kB", path.read_text(), re.MULTILINE)
        return int(found[1]) * 1024 if found else None
    return None


def nvmap_bytes(path: Path = _NVMAP) -> int | None:
    """What NVIDIA's memory manager holds on a Jetson; only root may read it."""
    with suppress(OSError):
        found = re.search(r"^total\s+(\d+)K", path.read_text(), re.MULTILINE)
        return int(found[1]) * 1024 if found else None
    return None


def torch_cuda_peaks() -> dict[str, int | None]:
    """Peaks of torch's CUDA allocator in this process; None where CUDA was not used."""
    torch = sys.modules.get("torch")
    allocated = reserved = None
    if torch is not None and torch.cuda.is_available() and torch.cuda.is_initialized():
        allocated, reserved = int(torch.cuda.max_memory_allocated()), int(torch.cuda.max_memory_reserved())
    return {"cuda_allocated_peak_bytes": allocated, "cuda_reserved_peak_bytes": reserved}


def bytes_written() -> int | None:
    """What this process has written towards the disk so far; None where the kernel does not count."""
    with suppress(OSError):
        found = re.search(r"^write_bytes: (\d+)", Path("/proc/self/io").read_text(), re.MULTILINE)
        return int(found[1]) if found else None
    return None


class MachineWatch:
    """The largest drop of the machine's free memory and the largest NVIDIA total since the watch began."""

    def __init__(self) -> None:
        self._start = mem_available_bytes()
        self._least = self._start
        self.nvmap_peak_bytes: int | None = None

    def look(self) -> None:
        """Take one sample of each."""
        now, nvmap = mem_available_bytes(), nvmap_bytes()
        if now is not None and self._least is not None:
            self._least = min(self._least, now)
        if nvmap is not None:
            self.nvmap_peak_bytes = max(self.nvmap_peak_bytes or 0, nvmap)

    @property
    def drop_bytes(self) -> int | None:
        """How much less memory was free at the worst moment than at the start; other programs count too."""
        return None if self._start is None or self._least is None else self._start - self._least
