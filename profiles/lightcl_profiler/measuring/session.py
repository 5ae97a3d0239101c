"""A whole profile: makes the workload, runs every method in turn, sums up."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from itertools import count
from pathlib import Path

from lightcl_edge.bundle.bundle import Bundle
from lightcl_edge.bundle.manifest import Manifest
from lightcl_edge.console.progress import Progress
from lightcl_edge.console.text import format_bytes
from lightcl_edge.machine.description import describe_machine, usable_cores
from lightcl_profiler.baselines import BASELINES
from lightcl_profiler.measuring.joining import join_tasks
from lightcl_profiler.measuring.launcher import KilledError, run_method
from lightcl_profiler.measuring.memory_group import MemoryGroup, NoGroupError
from lightcl_profiler.measuring.smallest_limit import find_smallest_limit
from lightcl_profiler.measuring.workload import Workload, make_workload
from lightcl_profiler.methods import METHODS
from lightcl_profiler.methods.contract import Job, load_method
from lightcl_profiler.records.record import Failure, Report, Run, SmallestLimit, Work
from lightcl_profiler.records.summary import summarise


@dataclass(frozen=True)
class Settings:
    """What to profile; None leaves the choice to the bundle or the machine."""

    bundle: str
    data: str
    methods: list[str]
    runs: int  # processes for each method
    epochs: int
    batch_size: int | None = None
    max_images: int | None = None
    threads: int | None = None
    engine: str = "auto"
    seed: int = 0
    tasks: int | None = None  # how many the classes are divided into
    buffer_samples: int | None = None  # images that a method may remember
    learning_rate: float | None = None
    device: str = "auto"  # of the baselines
    limit_bytes: int | None = None  # the largest memory limit to try; None to look for no limit
    left_out: tuple[str, ...] = ()  # methods that can't run here, each with the reason


#: Fields of a job that are those of the report's work.
_SAME_FOR_ALL = ("bundle", "epochs", "batch_size", "learning_rate", "threads", "seed", "engine", "device")


def _work(settings: Settings, manifest: Manifest, workload: Workload) -> Work:
    return Work(
        bundle=settings.bundle,
        model=manifest.model.name,
        cut=manifest.model.cut,
        trunk_dtype=manifest.model.trunk_dtype,
        data=settings.data,
        tasks=workload.tasks,
        images=workload.images,
        skipped_images=workload.skipped_images,
        epochs=settings.epochs,
        batch_size=settings.batch_size or manifest.defaults.batch_size,
        learning_rate=settings.learning_rate or manifest.defaults.learning_rate,
        threads=settings.threads or usable_cores(),
        seed=settings.seed,
        engine=settings.engine,
        buffer_samples=(
            manifest.defaults.buffer_samples if settings.buffer_samples is None else settings.buffer_samples
        ),
        image_side=min(manifest.input.height, manifest.input.width),
        device=settings.device,
    )


def _processes(job: Job) -> list[Job]:
    """All tasks in one process, or each in its own where the method is made so."""
    if not load_method(job.implementation).process_per_task:
        return [job]
    return [replace(job, tasks=[task]) for task in job.tasks]


def _run_in_group(job: Job, number: int, grouped: bool) -> Run:
    with MemoryGroup() if grouped else nullcontext() as group:
        return run_method(job, number, group)


def _cgroup_note() -> str | None:
    """Why no memory control group can be made here; None when one can be made."""
    try:
        MemoryGroup().close()
    except NoGroupError as error:
        return str(error)
    return None


class _Session:
    def __init__(self, settings: Settings, work: Work, workload: Workload, scratch: Path, progress: Progress) -> None:
        self._settings, self._work, self._workload = settings, work, workload
        self._scratch, self._progress = scratch, progress
        self.cgroup_note = _cgroup_note()
        self.runs: list[Run] = []
        self.failures: list[Failure] = []

    def _job(self, method: str, name: str) -> Job:
        scratch = self._scratch / name
        scratch.mkdir()
        return Job(
            method=method,
            implementation=METHODS[method],
            tasks=[str(folder) for folder in self._workload.folders],
            scratch=str(scratch),
            buffer_samples=self._work.buffer_samples or 0,
            strategy="" if method in BASELINES else method,
            **{name: getattr(self._work, name) for name in _SAME_FOR_ALL},
        )

    def run_all(self) -> None:
        """Run every method ``runs`` times, in turns."""
        for number in range(1, self._settings.runs + 1):
            for method in self._settings.methods:
                if not any(failure.method == method for failure in self.failures):
                    self._run(method, number)

    def _run(self, method: str, number: int) -> None:
        job, of = self._job(method, f"{method}-{number}"), f"run {number} of {self._settings.runs}"
        try:
            grouped = self.cgroup_note is None
            run = join_tasks([_run_in_group(each, number, grouped) for each in _processes(job)])
        except KilledError as error:
            self.failures.append(Failure(method, number, str(error), int(error.exit_code)))
            self._progress.note(f"{method}, {of}: {error}")
            return
        self.runs.append(run)
        peak = format_bytes(run.peak_rss_bytes)
        self._progress.note(f"{method}, {of}: peak {peak}, {run.wall_seconds:.1f} s")

    def find_limits(self, highest_bytes: int) -> list[SmallestLimit]:
        found = []
        for method in self._settings.methods:
            attempts = count(1)
            seconds = [run.wall_seconds for run in self.runs if run.method == method]
            jobs = partial(self._limited_jobs, method, attempts)
            found.append(find_smallest_limit(method, jobs, highest_bytes, min(seconds, default=None)))
            said = found[-1].reason or format_bytes(found[-1].smallest_bytes or 0)
            self._progress.note(f"{method}, smallest limit it completes under: {said}")
        return found

    def _limited_jobs(self, method: str, attempts: count[int]) -> list[Job]:
        return _processes(self._job(method, f"{method}-limit-{next(attempts)}"))


def profile(settings: Settings, command: str, created: str, scratch: Path, progress: Progress) -> Report:
    """Run every method ``settings.runs`` times, in turns.

    Images and states go into ``scratch``, which the caller removes. A method that a signal ended is in the report's
    ``failures`` and not started again. Any other failure of a method is raised, and so is what a method lacks on this
    machine, before the first one runs.
    """
    manifest = Bundle.open(settings.bundle).manifest
    for method in settings.methods:
        load_method(METHODS[method]).check(method, Path(settings.bundle))
    workload = make_workload(settings.data, scratch / "images", settings.max_images, settings.seed, settings.tasks)
    work = _work(settings, manifest, workload)
    session = _Session(settings, work, workload, scratch, progress)
    session.run_all()
    limits = [] if settings.limit_bytes is None else session.find_limits(settings.limit_bytes)
    titles = {method: load_method(METHODS[method]).describe(method) for method in settings.methods}
    return Report(
        command=command,
        created=created,
        machine=describe_machine(),
        work=work,
        runs=session.runs,
        summary=summarise(session.runs, titles),
        failures=session.failures,
        limits=limits,
        left_out=list(settings.left_out),
        cgroup_note=session.cgroup_note,
    )
