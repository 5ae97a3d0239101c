"""What the kernel says about the memory of a process. All figures are bytes; None means that it does not tell."""

import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

KIB = 1024
_KIB_LINE = re.compile(r"^([^:\n]+):\s+(\d+) kB$", re.MULTILINE)


def kib_fields(path: Path) -> dict[str, int]:
    """The ``Name: N kB`` lines of a ``/proc`` file, in bytes."""
    with suppress(OSError):
        return {name: int(size) * KIB for name, size in _KIB_LINE.findall(path.read_text())}
    return {}


@dataclass(frozen=True)
class MemorySample:
    """The memory of a process at one moment."""

    rss_bytes: int | None
    peak_rss_bytes: int | None  # the highest since the start or the last reset (VmHWM)
    anonymous_bytes: int | None  # of rss_bytes, what no file backs
    file_bytes: int | None  # of rss_bytes, what files back (libraries, mapped weights)
    swap_bytes: int | None
    pss_bytes: int | None  # shared pages count by their share


def sample(pid: int | str = "self", *, with_pss: bool = True) -> MemorySample:
    """Look at a process's memory. Its PSS costs the kernel about a millisecond."""
    status = kib_fields(Path(f"/proc/{pid}/status"))
    rollup = kib_fields(Path(f"/proc/{pid}/smaps_rollup")) if with_pss else {}
    return MemorySample(
        rss_bytes=status.get("VmRSS"),
        peak_rss_bytes=status.get("VmHWM"),
        anonymous_bytes=status.get("RssAnon"),
        file_bytes=status.get("RssFile"),
        swap_bytes=status.get("VmSwap"),
        pss_bytes=rollup.get("Pss"),
    )


def peak_rss_bytes() -> int:
    """The peak resident set size of this process since its start or the last reset; 0 when unknown.

    Not ``ru_maxrss``: the child of a large parent reports the parent's.
    """
    return sample(with_pss=False).peak_rss_bytes or 0


def reset_peak() -> bool:
    """Start a new peak at the present size. False when the kernel refuses: then peaks cover the whole run."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return False
    return True


@dataclass(frozen=True)
class PhaseRecord:
    """A finished phase of a run, with its wall time and its own peak."""

    name: str
    seconds: float
    peak_rss_bytes: int


class PhaseMeter:
    """Divides a run into phases, each with its own peak: ``with meter.phase("extract"): ...``.

    The peak of the whole run is the largest of the phases' peaks, because the counter is reset at each start.

    Args:
        on_start: called with the name of each phase as it starts, for a profiler's timeline.
    """

    def __init__(self, on_start: Callable[[str], None] | None = None) -> None:
        self.records: list[PhaseRecord] = []
        self._on_start = on_start
        self._before_bytes = 0

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Measure what runs inside as the phase ``name``, also when it fails."""
        self._before_bytes = max(self._before_bytes, peak_rss_bytes())
        reset_peak()
        if self._on_start is not None:
            self._on_start(name)
        started = time.perf_counter()
        try:
            yield
        finally:
            self.records.append(PhaseRecord(name, time.perf_counter() - started, peak_rss_bytes()))

    @property
    def peak_rss_bytes(self) -> int:
        """The peak of the whole process, from its start to now."""
        phases = max((record.peak_rss_bytes for record in self.records), default=0)
        return max(self._before_bytes, phases, peak_rss_bytes())
