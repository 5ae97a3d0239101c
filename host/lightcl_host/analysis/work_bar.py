"""One progress bar over pieces of work of very different sizes."""

import time

from lightcl_edge.console.progress import Progress

_PARTS = 1000


class WorkBar:
    """Counts work in any unit, such as multiply-adds, and draws it on a progress bar."""

    def __init__(self, progress: Progress, total: float) -> None:
        self._progress, self._total, self._done = progress, max(total, 1.0), 0.0
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

    def did(self, units: float, *, taken_up: bool = False) -> None:
        """Count finished work; work that an earlier run did (``taken_up``) does not tell the speed of this one."""
        self._done += units
        if taken_up:
            self._taken_up += units

    def finish(self, label: str) -> None:
        """Fill the bar and end its line."""
        self._progress.show(label, _PARTS, _PARTS, 0.0)
