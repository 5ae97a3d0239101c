"""Pauses while the board is hot.

The board is looked at every two seconds of work. It is hot when its hottest sensor is at the limit, when firmware or
kernel lower the clock because of heat, or when processors were throttled since the last look. Then work pauses until
the board is not throttled and five degrees below the limit, for a minute at most. After a pause at least five seconds
of work follow, so that a board that never cools down gets on too.
"""

import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from lightcl_edge.machine.health import Health, look, slowed_down

#: Raspberry Pis slow down from 80 degrees on; sensors are a few degrees wrong.
DEFAULT_CELSIUS = 75.0
COOLER_BY_CELSIUS = 5.0
LONGEST_PAUSE_SECONDS, WORK_BETWEEN_SECONDS, LOOK_SECONDS, SLICE_SECONDS = 60.0, 5.0, 2.0, 0.5


class Cooler:
    """Watches the board during a run, and counts its pauses.

    Args:
        limit_celsius: pause from here on; None only watches.
        note: told of each pause, and when nothing here can be watched.
        look_at: gives the board's health.
    """

    def __init__(
        self,
        limit_celsius: float | None,
        note: Callable[[str], None],
        look_at: Callable[[], Health] = look,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._limit, self._note, self._look, self._clock, self._sleep = limit_celsius, note, look_at, clock, sleep
        self.pauses, self.paused_seconds = 0, 0.0
        self._before = self._last = look_at()
        self._next = clock() + LOOK_SECONDS
        if limit_celsius is not None and not self._before.known:
            note("no sensor for heat can be read here, so --cool can't pause")

    def between_steps(self, asked_to_stop: Callable[[], bool] = lambda: False) -> None:
        """Pause if the board is hot. ``asked_to_stop`` ends a pause early."""
        if self._limit is None or self._clock() < self._next:
            return
        found = self._look()
        hot = self._hot(found, self._limit)
        if hot:
            self._pause(found, self._limit, asked_to_stop)
        self._next = self._clock() + (WORK_BETWEEN_SECONDS if hot else LOOK_SECONDS)

    def _hot(self, found: Health, limit: float) -> bool:
        counted = (found.throttle_events or 0) > (self._last.throttle_events or 0)
        self._last = found
        return counted or found.slowed_by_heat or (found.temperature_celsius or 0.0) >= limit

    def _pause(self, found: Health, limit: float, asked_to_stop: Callable[[], bool]) -> None:
        started = self._clock()
        self.pauses += 1
        degrees = "unknown" if found.temperature_celsius is None else f"{found.temperature_celsius:.1f} °C"
        self._note(f"pausing to cool down: {degrees}, throttled: {found.throttled or 'unknown'}")
        while self._clock() - started < LONGEST_PAUSE_SECONDS and not asked_to_stop():
            self._sleep(SLICE_SECONDS)
            if not self._hot(self._look(), limit - COOLER_BY_CELSIUS):
                break
        self.paused_seconds += self._clock() - started

    def document(self) -> dict[str, Any]:
        """For ``--json``: the board before and after, whether it was slowed down, and the pauses."""
        after = self._look()
        return {
            "before": asdict(self._before),
            "after": asdict(after),
            "slowed_down": slowed_down(self._before, after) or after.slowed_by_heat,
            "cool_at_celsius": self._limit,
            "pauses": self.pauses,
            "paused_seconds": round(self.paused_seconds, 2),
        }


def health_line(found: dict[str, Any]) -> str | None:
    """A board's health for a person, from the dict of a Health: ``board at 65.4 °C, throttled: no``."""
    degrees, throttled, events = found["temperature_celsius"], found["throttled"], found["throttle_events"]
    parts = [] if degrees is None else [f"at {degrees:.1f} °C"]
    parts += [] if throttled is None else [f"throttled: {throttled}"]
    parts += [] if events is None else [f"throttled {events} times since its start"]
    return f"board {', '.join(parts)}" if parts else None
