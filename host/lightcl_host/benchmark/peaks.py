"""Measured peak memory of every method.

A baseline trains the whole network within its run, so its figure is the peak of that process (``VmHWM``). The device's
own strategies learn from features that all runs share, so their runs say little about a device. They are measured
apart: ``lightcl-edge train`` learns images of the same tasks, each task in a fresh process. The largest peak counts.
"""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

from lightcl_edge.bundle.bundle import Bundle
from lightcl_edge.console.progress import Progress
from lightcl_edge.console.text import format_bytes
from lightcl_edge.errors import LightclError
from lightcl_edge.files.durable import replace_durably
from lightcl_edge.machine.description import usable_cores
from lightcl_host.benchmark.methods import METHODS
from lightcl_host.benchmark.options import BenchmarkOptions
from lightcl_host.benchmark.runner import finished

if TYPE_CHECKING:
    from lightcl_profiler.methods.contract import Job

_IMPLEMENTATION = "lightcl_profiler.methods.lightcl:StrategyMethod"
#: Batches a task: the gate keeps images of one out, and of the other two one is not the first.
_BATCHES = 3


def peak(
    options: BenchmarkOptions, bundle: Bundle, name: str, runs: list[dict[str, Any]], progress: Progress
) -> dict[str, Any]:
    """What was measured of a method, whose runs have these records.

    Returns ``measured_peak_bytes`` (None where it was not measured), ``measured_by``, and ``timeline``: ``[seconds,
    RSS]``.
    """
    if METHODS[name].on_device:
        return _device_peak(options, bundle, name, progress)
    highest = max(runs, key=lambda run: int(run["peak_rss_bytes"]))
    found = {"measured_peak_bytes": highest["peak_rss_bytes"], "timeline": highest["timeline"]}
    cuda = {key: highest.get(key) for key in ("cuda_allocated_peak_bytes", "cuda_reserved_peak_bytes")}
    measured_by = f"whole process of the run, testing included; the largest of {len(runs)}"
    return {**found, **cuda, "measured_by": measured_by}


def _not_measured(why: str) -> dict[str, Any]:
    return {"measured_peak_bytes": None, "measured_by": why, "timeline": []}


def _device_peak(options: BenchmarkOptions, bundle: Bundle, name: str, progress: Progress) -> dict[str, Any]:
    """Of ``lightcl-edge train``, unless an equal measurement is there."""
    if not options.measure_memory:
        return _not_measured("not asked for (--no-memory)")
    path, key = options.out / "memory" / f"{name}.json", _key(options, bundle, name)
    record = finished(path, key)
    if record is None:
        try:
            record = {"key": key, **_measure(options, name)}
        except LightclError as error:
            return _not_measured(f"not measured: {error}")
        progress.note(f"{name}, memory: {format_bytes(record['measured_peak_bytes'])}")
        path.parent.mkdir(exist_ok=True)
        replace_durably(path, json.dumps(record, indent=1).encode())
    return {name: value for name, value in record.items() if name != "key"}


def _measure(options: BenchmarkOptions, name: str) -> dict[str, Any]:
    from lightcl_profiler.measuring.joining import join_tasks
    from lightcl_profiler.measuring.launcher import run_method
    from lightcl_profiler.measuring.workload import make_workload

    tasks = 1 if METHODS[name].all_at_once else options.data.tasks
    scratch = options.out / "memory" / f"work-{name}"
    shutil.rmtree(scratch, ignore_errors=True)
    try:
        images = _BATCHES * options.batch_size * tasks
        workload = make_workload(options.data.data, scratch / "images", images, 0, tasks)
        jobs = [_job(options, name, str(folder), str(scratch)) for folder in workload.folders]
        run = join_tasks([run_method(job, 1) for job in jobs])
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return {
        "measured_peak_bytes": run.peak_rss_bytes,
        "measured_by": f"lightcl-edge train on {workload.images} images in {tasks} tasks, a process each; the largest",
        "timeline": [[seconds, rss] for seconds, rss, _ in run.timeline],
    }


def _job(options: BenchmarkOptions, name: str, data: str, scratch: str) -> Job:
    from lightcl_profiler.methods.contract import Job

    return Job(
        method=name,
        implementation=_IMPLEMENTATION,
        bundle=str(options.bundle_path),
        tasks=[data],
        scratch=scratch,
        epochs=1,
        batch_size=options.batch_size,
        learning_rate=0.0,
        threads=options.threads or usable_cores(),
        seed=0,
        engine=options.engine,
        strategy=METHODS[name].learner,
        buffer_bytes=options.buffer_bytes,
    )


def _key(options: BenchmarkOptions, bundle: Bundle, name: str) -> str:
    about = [name, bundle.identity, options.data.data, options.data.tasks, options.batch_size, options.buffer_bytes]
    return json.dumps([*about, options.engine, options.threads])
