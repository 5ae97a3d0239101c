"""The machine and the server on it, for the page and for Prometheus."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING

from lightcl_edge.machine.health import look
from lightcl_edge.machine.process_memory import kib_fields, sample
from lightcl_edge.serve.records.machine import Board, Event, Log
from lightcl_edge.state import journal
from lightcl_edge.state.written_bytes import read_written

if TYPE_CHECKING:
    from lightcl_edge.serve.service import Service

_EVENTS = 100
_HASH_LETTERS, _HEX_DIGITS = 64, frozenset("0123456789abcdef")


def board(service: Service) -> Board:
    """Memory, heat, disk and speed at this moment."""
    memory, machine, health = sample(), _meminfo(), look()
    disk = shutil.disk_usage(service.options.folder)
    return Board(
        pss_bytes=memory.pss_bytes,
        peak_rss_bytes=memory.peak_rss_bytes,
        learner_pss_bytes=_pss_of(service.trainer.pid),
        available_bytes=machine.get("MemAvailable"),
        total_bytes=machine.get("MemTotal"),
        temperature_celsius=health.temperature_celsius,
        throttled=health.throttled,
        disk_free_bytes=disk.free,
        disk_total_bytes=disk.total,
        written_bytes=read_written(service.state.folder).total_bytes,
        predictions_per_second=service.viewer.predictions_per_second(),
        frames_per_second=round(service.source.status().frames_per_second, 1),
        seconds_running=round(time.monotonic() - service.started, 1),
        clients=service.hub.listeners,
    )


def _meminfo() -> dict[str, int]:
    return kib_fields(Path("/proc/meminfo"))


def _pss_of(pid: int | None) -> int | None:
    return None if pid is None else sample(pid).pss_bytes


def log(folder: Path) -> Log:
    """What happened to the state, newest first."""
    found = []
    for entry in reversed(journal.read(folder, _EVENTS)):
        details = ", ".join(f"{key} {_shown(value)}" for key, value in entry.items() if key not in ("time", "event"))
        moment = entry.get("time")
        found.append(Event(float(moment) if isinstance(moment, int | float) else 0.0, str(entry["event"]), details))
    return Log(found)


def _shown(value: object) -> str:
    """A detail for a person: lists without brackets, hashes cut short."""
    if isinstance(value, list):
        return ", ".join(map(_shown, value)) or "none"
    text = str(value)
    return f"{text[:12]}…" if len(text) == _HASH_LETTERS and set(text) <= _HEX_DIGITS else text
