"""Was the machine itself when it was measured? Clock, temperature and throttling, as far as the kernel tells."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

#: Bits of a Raspberry Pi's firmware word: now, and since the start.
_PI_FLAGS = {
    0: "under-voltage now",
    1: "clock capped now",
    2: "throttled now",
    3: "at its temperature limit now",
    16: "under-voltage since the start",
    17: "clock capped since the start",
    18: "throttled since the start",
    19: "temperature limit since the start",
}


@dataclass(frozen=True)
class Health:
    """One look.

    Attributes:
        clock_hz: of the fastest processor right now.
        temperature_celsius: of the hottest sensor.
        throttle_events: how often processors were slowed down since the start of the machine (x86).
        throttled: what a Raspberry Pi's firmware says, ``no`` when all is well.
    """

    clock_hz: int | None
    temperature_celsius: float | None
    throttle_events: int | None
    throttled: str | None


def look(root: Path = Path("/")) -> Health:
    """Look at this machine.

    Args:
        root: where ``sys`` and ``proc`` are.

    Returns:
        What the kernel tells.
    """
    cpus = root / "sys/devices/system/cpu"
    clocks = [1000 * value for value in _numbers(cpus, "cpu[0-9]*/cpufreq/scaling_cur_freq")] or _cpuinfo_clocks(root)
    degrees = [value / 1000 for value in _numbers(root / "sys/class/thermal", "thermal_zone*/temp")]
    events = _numbers(cpus, "cpu[0-9]*/thermal_throttle/core_throttle_count")
    words = _texts(root / "sys/devices/platform", "soc*/soc*firmware/get_throttled")
    return Health(
        clock_hz=max(clocks, default=None),
        temperature_celsius=round(max(degrees), 1) if degrees else None,
        throttle_events=sum(events) if events else None,
        throttled=_pi_words(words[0]) if words else None,
    )


def slowed_down(before: Health | None, after: Health | None) -> bool:
    """Whether throttling shows between two looks: such times do not compare.

    Args:
        before: the first look.
        after: the second.

    Returns:
        False also where nobody tells.
    """
    if before is None or after is None:
        return False
    counted = (after.throttle_events or 0) > (before.throttle_events or 0)
    return counted or after.throttled not in (None, "no", before.throttled)


def _texts(folder: Path, pattern: str) -> list[str]:
    found = []
    for path in sorted(folder.glob(pattern)):
        with suppress(OSError):
            found.append(path.read_text().strip())
    return found


def _numbers(folder: Path, pattern: str) -> list[int]:
    return [int(text) for text in _texts(folder, pattern) if text.lstrip("-").isdigit()]


def _cpuinfo_clocks(root: Path) -> list[int]:
    with suppress(OSError):
        found = re.findall(r"^cpu MHz\s*:\s*([\d.]+)", (root / "proc/cpuinfo").read_text(), re.MULTILINE)
        return [round(float(value) * 1e6) for value in found]
    return []


def _pi_words(text: str) -> str:
    """The firmware's number in words."""
    with suppress(ValueError):
        value = int(text, 16)
        return ", ".join(words for bit, words in _PI_FLAGS.items() if value >> bit & 1) or "no"
    return text
