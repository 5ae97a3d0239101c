"""What a profile found, as typed records; the terminal, JSON and HTML are drawn from them alone.

Bytes are integers, times seconds. ``None`` means that the kernel does not tell, never 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from lightcl_edge.files.records import read_record
from lightcl_edge.machine.description import Machine
from lightcl_edge.machine.health import Health

#: Seconds since the start, RSS bytes, PSS bytes.
TimelinePoint = tuple[float, int, int | None]


@dataclass(frozen=True)
class Phase:
    name: str
    start_seconds: float
    seconds: float
    peak_rss_bytes: int


@dataclass(frozen=True)
class Run:
    """One method, once, in a process of its own; docs/builders/profiling.md says where each figure comes from."""

    method: str
    run: int  # 1 for the first
    images: int  # each counted once
    peak_rss_bytes: int  # of the whole process, from its start
    import_rss_bytes: int  # the same counter after the imports, before any data
    phases: list[Phase]
    seconds_per_image: float  # wall time after the imports, all epochs, divided by ``images``
    pss_peak_bytes: int | None
    anonymous_bytes: int | None  # at the sample with the highest RSS
    file_bytes: int | None  # at the same sample
    swap_bytes: int | None
    wall_seconds: float  # from starting the process to its result
    cpu_seconds: float
    loss: float | None  # mean of the last epoch of the last task; None when it was not finite
    notes: list[str] = field(default_factory=list)
    timeline: list[TimelinePoint] = field(default_factory=list)
    bytes_written: int | None = None
    cgroup_peak_bytes: int | None = None
    memavailable_drop_bytes: int | None = None
    nvmap_peak_bytes: int | None = None
    cuda_allocated_peak_bytes: int | None = None
    cuda_reserved_peak_bytes: int | None = None
    health_before: Health | None = None
    health_after: Health | None = None
    calculated_bytes: int | None = None  # by the paper's formula, not measured
    holdout_accuracy: float | None = None  # after the last task, mean over classes; None where nothing is held out


@dataclass(frozen=True)
class Failure:
    """A run that a signal ended: on a small board a result like any other."""

    method: str
    run: int
    message: str
    exit_code: int


@dataclass(frozen=True)
class Trial:
    """A run under a memory limit."""

    limit_bytes: int
    completed: bool
    reason: str | None
    seconds: float


@dataclass(frozen=True)
class SmallestLimit:
    """The smallest memory limit a method completes under, by bisection."""

    method: str
    smallest_bytes: int | None  # None when it completed under none that was tried, or none could be set
    trials: list[Trial]
    reason: str | None = None


@dataclass(frozen=True)
class Spread:
    """A figure over several runs."""

    median: float  # of an even number of runs the lower middle value, which was measured
    minimum: float
    maximum: float


@dataclass(frozen=True)
class MethodSummary:
    """All runs of a method together: a field of Run -> its spread; what the kernel does not tell is left out."""

    method: str
    title: str
    runs: int
    figures: dict[str, Spread]


@dataclass(frozen=True)
class Work:
    """What every method was given."""

    bundle: str
    model: str
    cut: str
    trunk_dtype: str
    data: str
    tasks: list[list[str]]
    images: int
    skipped_images: int
    epochs: int
    batch_size: int
    learning_rate: float
    threads: int
    seed: int
    engine: str
    buffer_samples: int | None = None
    image_side: int = 0
    device: str = "auto"


@dataclass(frozen=True)
class Report:
    """Everything ``report.json`` holds."""

    command: str
    created: str
    machine: Machine
    work: Work
    runs: list[Run]
    summary: list[MethodSummary]
    failures: list[Failure] = field(default_factory=list)
    limits: list[SmallestLimit] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)  # methods that can't run here, each with the reason
    cgroup_note: str | None = None  # why control groups are unavailable, None where they work

    def to_document(self) -> dict[str, Any]:
        """The report as JSON carries it."""
        return asdict(self)

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Report:
        """Read what :meth:`to_document` made; a DataError names a missing or mistyped key."""
        return read_record(cls, document, "report")
