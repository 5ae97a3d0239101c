"""One progress bar over work of very different sizes: what is being done, and how long is left."""

from __future__ import annotations

import time

from lightcl_edge.console.progress import Progress

_PARTS = 1000


class WorkBar:
    """Counts work in units that only compare (multiply-adds, say).

    Args:
        progress: draws the bar.
        total: of all work, as far as it is known.
    """

    def __init__(self, progress: Progress, total: float) -> None:
        self._progress, self._total, self._done = progress, max(total, 1.0), 0.0
        self._started: float | None = None
        self._taken_up = 0.0
        self._stage: str | None = None

    def doing(self, label: str, stage: str | None = None) -> None:
        """Say what is being done now.

        Args:
            label: of the bar.
            stage: a stage that it belongs to, named once where no bar is drawn; None within one.
        """
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
        """Count finished work; what an earlier run had finished says nothing about how fast this one is."""
        self._done += units
        if taken_up:
            self._taken_up += units

    def finish(self, label: str) -> None:
        """End the line."""
        self._progress.show(label, _PARTS, _PARTS, 0.0)
