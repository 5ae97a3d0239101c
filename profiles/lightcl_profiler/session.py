"""A whole profile: make the workload, run every method in turn, sum up."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from lightcl_edge.bundle import Bundle
from lightcl_edge.console import Progress, format_bytes
from lightcl_edge.machine import describe_machine, usable_cores
from lightcl_edge.manifest import Manifest
from lightcl_profiler.joining import join_tasks
from lightcl_profiler.launcher import KilledError, run_method
from lightcl_profiler.methods import METHODS
from lightcl_profiler.methods.contract import Job, load_method
from lightcl_profiler.record import Failure, Report, Run, Work
from lightcl_profiler.summary import summarise
from lightcl_profiler.workload import Workload, make_workload


@dataclass(frozen=True)
class Settings:
    """What to profile; None leaves the choice to the bundle or the machine.

    Attributes:
        bundle: path of the bundle.
        data: the data specification.
        methods: their names.
        runs: processes for each method.
        epochs: passes over each task.
        batch_size: images a step.
        max_images: most images in all.
        threads: of each library.
        engine: of ``lightcl-edge train``.
        seed: of every random choice.
    """

    bundle: str
    data: str
    methods: list[str]
    runs: int
    epochs: int
    batch_size: int | None = None
    max_images: int | None = None
    threads: int | None = None
    engine: str = "auto"
    seed: int = 0


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
        learning_rate=manifest.defaults.learning_rate,
        threads=settings.threads or usable_cores(),
        seed=settings.seed,
        engine=settings.engine,
    )


def _job(method: str, work: Work, workload: Workload, scratch: Path) -> Job:
    return Job(
        method=method,
        implementation=METHODS[method],
        bundle=work.bundle,
        tasks=[str(folder) for folder in workload.folders],
        scratch=str(scratch),
        epochs=work.epochs,
        batch_size=work.batch_size,
        learning_rate=work.learning_rate,
        threads=work.threads,
        seed=work.seed,
        engine=work.engine,
    )


def _run_tasks(job: Job, number: int) -> Run:
    """All tasks of a method: in one process, or in one each where the method is made so."""
    if not load_method(job.implementation).process_per_task:
        return run_method(job, number)
    return join_tasks([run_method(replace(job, tasks=[task]), number) for task in job.tasks])


def profile(settings: Settings, command: str, created: str, scratch: Path, progress: Progress) -> Report:
    """Run every method ``settings.runs`` times, the methods taking turns.

    Args:
        settings: what to profile.
        command: the command line, for the report.
        created: when, for the report.
        scratch: a folder for images and states; the caller removes it.
        progress: says what runs.

    Returns:
        The report. A method that a signal ended is in ``failures`` and not started again; any other failure
        of a method is raised.
    """
    manifest = Bundle.open(settings.bundle).manifest
    workload = make_workload(settings.data, scratch / "images", settings.max_images, settings.seed)
    work = _work(settings, manifest, workload)
    runs: list[Run] = []
    failures: list[Failure] = []
    for number in range(1, settings.runs + 1):
        for method in settings.methods:
            if any(failure.method == method for failure in failures):
                continue
            folder = scratch / f"{method}-{number}"
            folder.mkdir()
            try:
                run = _run_tasks(_job(method, work, workload, folder), number)
            except KilledError as error:
                failures.append(Failure(method, number, str(error), int(error.exit_code)))
                progress.note(f"{method}, run {number} of {settings.runs}: {error}")
                continue
            runs.append(run)
            peak = format_bytes(run.peak_rss_bytes)
            progress.note(f"{method}, run {number} of {settings.runs}: peak {peak}, {run.wall_seconds:.1f} s")
    titles = {method: load_method(METHODS[method]).describe(method) for method in settings.methods}
    return Report(command, created, describe_machine(), work, runs, summarise(runs, titles), failures)
