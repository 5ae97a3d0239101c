"""Is the board too hot, or short of power? Clock, temperature and throttling, as far as kernel and firmware tell."""

import re
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

#: Bits of a Raspberry Pi's firmware word.
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
#: Those that heat causes; a pause helps.
_HEAT = (_PI_FLAGS[1], _PI_FLAGS[2], _PI_FLAGS[3])
#: A cooling device of the kernel that lowers the processors' clock (Jetson and others), while it does.
_KERNEL_COOLING = "clock lowered by the kernel now"
_VCGENCMD_SECONDS = 2.0


@dataclass(frozen=True)
class Health:
    """How hot and how slow the board is at one moment; None where nobody tells.

    ``throttled`` is what a Raspberry Pi's firmware says, and whether the kernel lowers the clock because of heat. It is
    ``no`` when all is well.
    """

    clock_hz: int | None  # of the fastest processor
    temperature_celsius: float | None  # of the hottest sensor
    throttle_events: int | None  # how often processors were slowed down since the machine started (x86)
    throttled: str | None

    @property
    def known(self) -> bool:
        """Whether anything here tells of heat."""
        return any(each is not None for each in (self.temperature_celsius, self.throttle_events, self.throttled))

    @property
    def slowed_by_heat(self) -> bool:
        """Whether heat slows the board at this moment."""
        return any(words in (self.throttled or "") for words in (*_HEAT, _KERNEL_COOLING))


def look(root: Path = Path("/")) -> Health:
    """Look at this machine, whose ``sys`` and ``proc`` are below ``root``."""
    cpus = root / "sys/devices/system/cpu"
    clocks = [1000 * value for value in _numbers(cpus, "cpu[0-9]*/cpufreq/scaling_cur_freq")] or _cpuinfo_clocks(root)
    degrees = [value / 1000 for value in _numbers(root / "sys/class/thermal", "thermal_zone*/temp")]
    events = _numbers(cpus, "cpu[0-9]*/thermal_throttle/core_throttle_count")
    return Health(
        clock_hz=max(clocks, default=None),
        temperature_celsius=round(max(degrees), 1) if degrees else None,
        throttle_events=sum(events) if events else None,
        throttled=_throttled(root),
    )


def slowed_down(before: Health | None, after: Health | None) -> bool:
    """Whether the board was throttled between two looks, so that times can't be compared. False when nobody tells."""
    if before is None or after is None:
        return False
    counted = (after.throttle_events or 0) > (before.throttle_events or 0)
    return counted or after.throttled not in (None, "no", before.throttled)


def _throttled(root: Path) -> str | None:
    files = _texts(root / "sys/devices/platform", "soc*/soc*firmware/get_throttled")
    word = files[0] if files else _ask_firmware(root)
    found = [] if word is None else [_pi_words(word)]
    states = _cooling_states(root / "sys/class/thermal")
    if states:
        found.append(_KERNEL_COOLING if any(states) else "no")
    said = [words for words in found if words != "no"]
    return ", ".join(said) or ("no" if found else None)


def _ask_firmware(root: Path) -> str | None:
    """``vcgencmd get_throttled``, on Raspberry Pis whose kernel has no file for it; it needs the group video."""
    if "Raspberry Pi" not in "".join(_texts(root / "proc/device-tree", "model")):
        return None
    with suppress(OSError, subprocess.SubprocessError):
        done = subprocess.run(
            ["vcgencmd", "get_throttled"], capture_output=True, text=True, timeout=_VCGENCMD_SECONDS, check=True
        )
        return done.stdout.strip().partition("=")[2] or None
    return None


def _cooling_states(folder: Path) -> list[int]:
    """For each cooling device that lowers processors' clocks: how far it does so, 0 when not at all."""
    states = []
    for device in sorted(folder.glob("cooling_device*")):
        if any("cpufreq" in text for text in _texts(device, "type")):
            states += _numbers(device, "cur_state")
    return states


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
    with suppress(ValueError):
        value = int(text, 16)
        return ", ".join(words for bit, words in _PI_FLAGS.items() if value >> bit & 1) or "no"
    return text
