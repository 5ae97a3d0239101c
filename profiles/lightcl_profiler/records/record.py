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
    """A phase of a run.

    Attributes:
        name: what was done.
        start_seconds: since the process was started.
        seconds: how long it took.
        peak_rss_bytes: the highest resident set size within it, from the kernel's own counter.
    """

    name: str
    start_seconds: float
    seconds: float
    peak_rss_bytes: int


@dataclass(frozen=True)
class Run:
    """One method, once, in a process of its own.

    Attributes:
        method: its name.
        run: 1 for the first.
        images: training images, each counted once.
        peak_rss_bytes: of the whole process from its start (``VmHWM``).
        import_rss_bytes: the same counter after the method's imports, before any data.
        phases: in order.
        seconds_per_image: wall time after the imports divided by ``images``, all epochs included.
        pss_peak_bytes: highest sampled proportional set size.
        anonymous_bytes: at the sample with the highest RSS: what no file backs.
        file_bytes: at the same sample: what files back.
        swap_bytes: highest sampled.
        wall_seconds: from starting the process to its result.
        cpu_seconds: user and system time of the process.
        loss: mean training loss of the last epoch of the last task; None when it was not finite.
        notes: what a reader should know about this run.
        timeline: sampled memory.
        bytes_written: sent towards the disk by the process.
        cgroup_peak_bytes: of a memory control group made for the process: file pages it was first to use count too.
        memavailable_drop_bytes: how much less memory the whole machine had at the worst moment.
        nvmap_peak_bytes: highest total of NVIDIA's memory manager (Jetson).
        cuda_allocated_peak_bytes: of torch's CUDA allocator.
        cuda_reserved_peak_bytes: of torch's CUDA allocator, with what it keeps for later.
        health_before: of the machine.
        health_after: of the machine.
        calculated_bytes: what the paper's formula gives, not measured.
    """

    method: str
    run: int
    images: int
    peak_rss_bytes: int
    import_rss_bytes: int
    phases: list[Phase]
    seconds_per_image: float
    pss_peak_bytes: int | None
    anonymous_bytes: int | None
    file_bytes: int | None
    swap_bytes: int | None
    wall_seconds: float
    cpu_seconds: float
    loss: float | None
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
    calculated_bytes: int | None = None


@dataclass(frozen=True)
class Failure:
    """A run that a signal ended: on a small board a result like any other.

    Attributes:
        method: its name.
        run: 1 for the first.
        message: what happened.
        exit_code: what the command ends with.
    """

    method: str
    run: int
    message: str
    exit_code: int


@dataclass(frozen=True)
class Trial:
    """A run under a memory limit.

    Attributes:
        limit_bytes: of its control group.
        completed: whether it learned all tasks.
        reason: why not.
        seconds: it took.
    """

    limit_bytes: int
    completed: bool
    reason: str | None
    seconds: float


@dataclass(frozen=True)
class SmallestLimit:
    """The smallest memory limit a method completes under, by bisection.

    Attributes:
        method: its name.
        smallest_bytes: None when it completed under none that was tried, or none could be set.
        trials: in the order they were made.
        reason: why there is no figure.
    """

    method: str
    smallest_bytes: int | None
    trials: list[Trial]
    reason: str | None = None


@dataclass(frozen=True)
class Spread:
    """A figure over several runs.

    Attributes:
        median: for bytes the lower of the two middle values, so that it stays one that was measured.
        minimum: the smallest.
        maximum: the largest.
    """

    median: float
    minimum: float
    maximum: float


@dataclass(frozen=True)
class MethodSummary:
    """All runs of a method together.

    Attributes:
        method: its name.
        title: one line that says what it is.
        runs: how many completed.
        figures: name of a field of :class:`Run` -> its spread; fields the kernel does not tell are left out.
    """

    method: str
    title: str
    runs: int
    figures: dict[str, Spread]


@dataclass(frozen=True)
class Work:
    """What every method was given.

    Attributes:
        bundle: path of the bundle.
        model: the model's name in its manifest.
        cut: where the trunk ends.
        trunk_dtype: of the bundle's trunk.
        data: the data specification.
        tasks: class names of each task, learned one after the other.
        images: in all tasks.
        skipped_images: unreadable ones, left out for every method.
        epochs: passes over each task.
        batch_size: images a step.
        learning_rate: of SGD.
        threads: of each library.
        seed: of every random choice.
        engine: asked for, of ``lightcl-edge train``.
        buffer_samples: images or features a method may keep of earlier tasks.
        image_side: of the network's input, the shorter one, in pixels.
        device: asked for, of the baselines.
    """

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
    """Everything ``report.json`` holds.

    Attributes:
        command: the exact command that made it.
        created: UTC, ISO 8601.
        machine: where.
        work: what every method was given.
        runs: in the order they were made.
        summary: one for each method with a completed run.
        failures: runs a signal ended.
        limits: of each method, where limits were asked for.
        cgroup_note: why control groups are unavailable, None where they work.
    """

    command: str
    created: str
    machine: Machine
    work: Work
    runs: list[Run]
    summary: list[MethodSummary]
    failures: list[Failure] = field(default_factory=list)
    limits: list[SmallestLimit] = field(default_factory=list)
    cgroup_note: str | None = None

    def to_document(self) -> dict[str, Any]:
        """The report as JSON carries it."""
        return asdict(self)

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Report:
        """Read what :meth:`to_document` made; a DataError names a missing or mistyped key."""
        return read_record(cls, document, "report")
