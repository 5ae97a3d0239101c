"""How the machine and the program on it are."""

from __future__ import annotations

from dataclasses import dataclass

from lightcl_edge.serve.records.learning import Learning
from lightcl_edge.serve.records.watching import Live, Settings


@dataclass(frozen=True)
class SourceState:
    kind: str
    working: bool
    message: str
    frames_per_second: float


@dataclass(frozen=True)
class BrokerState:
    """The link to an MQTT broker."""

    connected: bool
    message: str


@dataclass(frozen=True)
class Status:
    version: str
    generation: int
    classes: list[str]
    capacity: int | None
    model: str | None
    source: SourceState
    predictions_per_second: float
    taught: dict[str, int]
    queue: int
    learning: Learning
    live: Live | None
    settings: Settings
    problem: str | None
    mqtt: BrokerState | None  # None without a broker


@dataclass(frozen=True)
class Board:
    """The machine and this program on it; None where nothing tells."""

    pss_bytes: int | None
    peak_rss_bytes: int | None
    learner_pss_bytes: int | None  # None while nothing is learned
    available_bytes: int | None
    total_bytes: int | None
    temperature_celsius: float | None
    throttled: str | None
    disk_free_bytes: int
    disk_total_bytes: int
    written_bytes: int
    predictions_per_second: float
    frames_per_second: float
    seconds_running: float
    clients: int


@dataclass(frozen=True)
class Event:
    time: float
    event: str
    details: str


@dataclass(frozen=True)
class Log:
    events: list[Event]
