"""What the kernel says about this process's memory: peaks, PSS, and giving memory back.

All figures are bytes. ``None`` means that this kernel does not tell, never 0.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

_KIB = 1024


def _kib_fields(path: Path) -> dict[str, int]:
    """Read the ``Name: N kB`` lines of a ``/proc`` file, as bytes."""
    fields: dict[str, int] = {}
    with suppress(OSError):
        for line in path.read_text().splitlines():
            name, _, rest = line.partition(":")
            words = rest.split()
            if len(words) == 2 and words[1] == "kB":
                fields[name] = int(words[0]) * _KIB
    return fields


@dataclass(frozen=True)
class MemorySample:
    """One look at a process.

    Attributes:
        rss_bytes: resident set size now.
        peak_rss_bytes: the highest resident set size since the start or the last reset (``VmHWM``).
        anonymous_bytes: of ``rss_bytes``, what no file backs.
        file_bytes: of ``rss_bytes``, what files back (libraries, mapped weights).
        swap_bytes: what was swapped out.
        pss_bytes: proportional set size; shared pages count by their share.
    """

    rss_bytes: int | None
    peak_rss_bytes: int | None
    anonymous_bytes: int | None
    file_bytes: int | None
    swap_bytes: int | None
    pss_bytes: int | None


def sample(pid: int | str = "self", *, with_pss: bool = True) -> MemorySample:
    """Look at a process's memory.

    Args:
        pid: the process, or ``"self"``.
        with_pss: also read ``smaps_rollup``, which costs the kernel about a millisecond.

    Returns:
        What the kernel told.
    """
    status = _kib_fields(Path(f"/proc/{pid}/status"))
    rollup = _kib_fields(Path(f"/proc/{pid}/smaps_rollup")) if with_pss else {}
    return MemorySample(
        rss_bytes=status.get("VmRSS"),
        peak_rss_bytes=status.get("VmHWM"),
        anonymous_bytes=status.get("RssAnon"),
        file_bytes=status.get("RssFile"),
        swap_bytes=status.get("VmSwap"),
        pss_bytes=rollup.get("Pss"),
    )


def peak_rss_bytes() -> int:
    """The peak resident set size of this process since its start or the last reset; 0 if unknown.

    Never ``ru_maxrss``: a child of a large parent reports the parent's.
    """
    return sample(with_pss=False).peak_rss_bytes or 0


def reset_peak() -> bool:
    """Start a new peak at the present size.

    Returns:
        False where the kernel does not allow it: peaks then cover the whole run.
    """
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return False
    return True


@dataclass(frozen=True)
class PhaseRecord:
    """A finished phase of a run.

    Attributes:
        name: what was done.
        seconds: wall time.
        peak_rss_bytes: the highest resident set size within the phase.
    """

    name: str
    seconds: float
    peak_rss_bytes: int


class PhaseMeter:
    """Divides a run into phases, each with its own peak.

    Used as ``with meter.phase("extract"): ...``. The peak of the whole run is the largest of the
    phases' peaks, because the counter is reset at each start.

    Args:
        on_start: called with the name of each phase as it starts (a profiler's timeline).
    """

    def __init__(self, on_start: Callable[[str], None] | None = None) -> None:
        self.records: list[PhaseRecord] = []
        self._on_start = on_start
        self._before_bytes = 0

    def phase(self, name: str) -> _Phase:
        """A context manager that measures what runs inside it as the phase ``name``."""
        return _Phase(self, name)

    def start(self, name: str) -> None:
        """Note the peak so far, reset the counter, tell the listener."""
        self._before_bytes = max(self._before_bytes, peak_rss_bytes())
        reset_peak()
        if self._on_start is not None:
            self._on_start(name)

    @property
    def peak_rss_bytes(self) -> int:
        """The peak of the whole process, from its start to now."""
        phases = max((record.peak_rss_bytes for record in self.records), default=0)
        return max(self._before_bytes, phases, peak_rss_bytes())


class _Phase:
    """The context manager behind :meth:`PhaseMeter.phase`."""

    def __init__(self, meter: PhaseMeter, name: str) -> None:
        self._meter, self._name, self._started = meter, name, 0.0

    def __enter__(self) -> _Phase:
        self._meter.start(self._name)
        self._started = time.perf_counter()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        seconds = time.perf_counter() - self._started
        self._meter.records.append(PhaseRecord(self._name, seconds, peak_rss_bytes()))
