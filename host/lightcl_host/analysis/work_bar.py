"""One progress bar over pieces of work of very different sizes."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from lightcl_edge.console.progress import Progress

_PARTS = 1000


class WorkBar:
    """Counts work in seconds that were estimated, and draws it on a progress bar with the speed that is seen."""

    def __init__(self, progress: Progress, total: float) -> None:
        self._progress, self._total, self._done = progress, max(total, 1e-9), 0.0
        self._started: float | None = None
        self._taken_up = 0.0
        self._stage: str | None = None

    def doing(self, label: str, stage: str | None = None) -> None:
        """Say what is being done now; a stage is named once where no bar is drawn."""
        if stage not in (None, self._stage):
            self._stage = stage
            self._progress.stage(str(stage))
        now = time.monotonic()
        self._started = now if self._started is None else self._started
        fresh = self._done - self._taken_up
        left = (now - self._started) / fresh * (self._total - self._done) if fresh > 0 else None
        done = min(int(_PARTS * self._done / self._total), _PARTS - 1)
        self._progress.show(label, done, _PARTS, left)

    def did(self, seconds: float) -> None:
        """Count finished work."""
        self._done += seconds

    @contextmanager
    def part(self, seconds: float) -> Iterator[None]:
        """Count a part that was estimated to take so long, whatever it counts on its way.

        What it leaves out, because an earlier run did it or because it ended early, does not tell the speed.
        """
        end = self._done + seconds
        yield
        self._taken_up += end - self._done
        self._done = end

    def finish(self, label: str) -> None:
        """Fill the bar and end its line."""
        self._progress.show(label, _PARTS, _PARTS, 0.0)
