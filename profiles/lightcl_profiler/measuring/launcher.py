"""Runs a profiled method once in a fresh process and makes the record of the run."""

from dataclasses import asdict
from typing import Any

from lightcl_edge.errors import ExitCode, LightclError
from lightcl_edge.machine.health import Health, look
from lightcl_profiler.measuring.memory_group import MemoryGroup
from lightcl_profiler.measuring.watched_process import Start, Watched, watch
from lightcl_profiler.methods.contract import Job
from lightcl_profiler.records.record import Phase, Run

#: Each look costs the watched process about a millisecond of kernel time.
_SAMPLE_SECONDS, _LOOKS_A_PSS = 0.02, 8
#: Fields of a record that the child itself gives.
_FIELDS_OF_RESULT = (
    "images",
    "peak_rss_bytes",
    "import_rss_bytes",
    "loss",
    "notes",
    "bytes_written",
    "calculated_bytes",
    "holdout_accuracy",
    "cuda_allocated_peak_bytes",
    "cuda_reserved_peak_bytes",
)


class KilledError(LightclError):
    """A signal ended the method's process; ``exit_code`` tells a lack of memory from the rest."""

    def __init__(self, message: str, exit_code: ExitCode) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def run_method(job: Job, run: int, group: MemoryGroup | None = None, timeout_seconds: float | None = None) -> Run:
    """Run a method once in a process of its own, in a memory control group that the caller closes.

    Raises a TimeoutError when it took longer than ``timeout_seconds``, and a ``KilledError`` when a signal ended it.
    Else it raises the user's error that was raised in the process, or a ``NoEngineError``.
    """
    before = look()
    module = "lightcl_profiler.measuring.child"
    start = Start(module, asdict(job), job.threads, _SAMPLE_SECONDS, _LOOKS_A_PSS, group, timeout_seconds)
    watched = watch(start, Watched())
    if watched.result is None:
        failure = watched.failure(f"method {job.method!r} in phase {watched.phase!r}")
        if watched.status < 0:
            failure = KilledError(str(failure), failure.exit_code)
        raise failure
    return _record(job, run, watched, watched.result, before, None if group is None else group.peak_bytes())


def _record(
    job: Job, run: int, watched: Watched, result: dict[str, Any], before: Health, cgroup_peak_bytes: int | None
) -> Run:
    """The run's record from the child's result and the parent's samples."""
    phases = [
        Phase(p["name"], round(p["at"] - watched.started, 3), round(p["seconds"], 4), p["peak_rss_bytes"])
        for p in result["phases"]
    ]
    timeline, machine = watched.timeline, watched.machine
    return Run(
        method=job.method,
        run=run,
        phases=phases,
        seconds_per_image=result["work_seconds"] / max(result["images"], 1),
        pss_peak_bytes=timeline.pss_peak_bytes,
        anonymous_bytes=timeline.anonymous_bytes,
        file_bytes=timeline.file_bytes,
        swap_bytes=timeline.swap_peak_bytes,
        wall_seconds=round(result["finished_at"] - watched.started, 3),
        cpu_seconds=round(result["cpu_seconds"], 3),
        timeline=timeline.points,
        cgroup_peak_bytes=cgroup_peak_bytes,
        memavailable_drop_bytes=machine.drop_bytes,
        nvmap_peak_bytes=machine.nvmap_peak_bytes,
        health_before=before,
        health_after=look(),
        **{name: result[name] for name in _FIELDS_OF_RESULT},
    )
