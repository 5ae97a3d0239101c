"""Memory of a process over time, bounded in length however long the process runs."""

from lightcl_edge.machine.process_memory import MemorySample
from lightcl_profiler.records.record import TimelinePoint


class Timeline:
    """Collects at most ``limit`` samples. When there are too many, of two neighbours the higher one stays."""

    def __init__(self, limit: int = 1000) -> None:
        self._limit = max(limit, 2)
        self._points: list[TimelinePoint] = []
        self._pending: list[TimelinePoint] = []
        self._stride = 1
        self._highest: MemorySample | None = None
        self.pss_peak_bytes: int | None = None
        self.swap_peak_bytes: int | None = None

    def add(self, seconds: float, sample: MemorySample) -> None:
        """Take a sample. One without an RSS is left out: the process has just ended."""
        if sample.rss_bytes is None:
            return
        if self._highest is None or sample.rss_bytes > (self._highest.rss_bytes or 0):
            self._highest = sample
        self.pss_peak_bytes = _larger(self.pss_peak_bytes, sample.pss_bytes)
        self.swap_peak_bytes = _larger(self.swap_peak_bytes, sample.swap_bytes)
        self._pending.append((round(seconds, 3), sample.rss_bytes, sample.pss_bytes))
        if len(self._pending) >= self._stride:
            self._points.append(_highest(self._pending))
            self._pending = []
        if len(self._points) >= self._limit:
            self._points = [_highest(self._points[i : i + 2]) for i in range(0, len(self._points), 2)]
            self._stride *= 2

    @property
    def points(self) -> list[TimelinePoint]:
        """All points in order of time."""
        return self._points + ([_highest(self._pending)] if self._pending else [])

    @property
    def anonymous_bytes(self) -> int | None:
        """Memory that no file backed, when RSS was highest."""
        return self._highest.anonymous_bytes if self._highest else None

    @property
    def file_bytes(self) -> int | None:
        """Memory that files backed, when RSS was highest."""
        return self._highest.file_bytes if self._highest else None


def _highest(points: list[TimelinePoint]) -> TimelinePoint:
    return max(points, key=lambda point: point[1])


def _larger(known: int | None, new: int | None) -> int | None:
    return known if new is None else max(known or 0, new)
