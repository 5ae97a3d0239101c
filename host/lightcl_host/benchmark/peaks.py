"""Measured peak memory of every method.

A baseline trains the whole network within its run: the peak of that process (``VmHWM``) is its figure. The device's
own strategies learn from features that all runs share, so that a run of theirs says little about a device. They are
measured apart: ``lightcl-edge train`` on images of the same tasks, each task in a fresh process as on a device; the
largest peak counts.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

from lightcl_edge.bundle.bundle import Bundle
from lightcl_edge.console.progress import Progress
from lightcl_edge.console.text import format_bytes
from lightcl_edge.errors import LightclError
from lightcl_edge.files.durable import replace_durably
from lightcl_edge.machine.description import usable_cores
from lightcl_host.benchmark.methods import make_method
from lightcl_host.benchmark.options import BenchmarkOptions
from lightcl_host.benchmark.runner import bundle_path, finished

if TYPE_CHECKING:
    from lightcl_host.benchmark.device_methods import DeviceMethod
    from lightcl_profiler.methods.contract import Job

_IMPLEMENTATION = "lightcl_profiler.methods.lightcl:StrategyMethod"
#: Batches a task: one on top of what the gate keeps out, and one that is not the first.
_BATCHES = 3
OWN_PROCESS = "whole process of the run, testing included"


def peak(
    options: BenchmarkOptions, bundle: Bundle, name: str, runs: list[dict[str, Any]], progress: Progress
) -> dict[str, Any]:
    """What was measured of a method.

    Args:
        options: of the benchmark.
        bundle: the network's.
        name: the method.
        runs: its records.
        progress: tells what is measured.

    Returns:
        ``measured_peak_bytes`` (None where it was not measured), ``measured_by``, and ``timeline``: ``[seconds, RSS]``.
    """
    if make_method(name).uses_features:
        return _device_peak(options, bundle, name, progress)
    known = [run for run in runs if "peak_rss_bytes" in run]
    if not known:
        return {"measured_peak_bytes": None, "measured_by": "not measured by the version that ran it", "timeline": []}
    highest = max(known, key=lambda run: int(run["peak_rss_bytes"]))
    found = {"measured_peak_bytes": highest["peak_rss_bytes"], "timeline": highest["timeline"]}
    cuda = {key: highest.get(key) for key in ("cuda_allocated_peak_bytes", "cuda_reserved_peak_bytes")}
    return {**found, **cuda, "measured_by": f"{OWN_PROCESS}; the largest of {len(known)}"}


def _device_peak(options: BenchmarkOptions, bundle: Bundle, name: str, progress: Progress) -> dict[str, Any]:
    """Of ``lightcl-edge train``, unless an equal measurement is there."""
    if not options.measure_memory:
        return {"measured_peak_bytes": None, "measured_by": "not asked for (--no-memory)", "timeline": []}
    path, key = options.out / "memory" / f"{name}.json", _key(options, bundle, name)
    record = finished(path, key)
    if record is None:
        try:
            record = {"key": key, **_measure(options, name)}
        except LightclError as error:
            return {"measured_peak_bytes": None, "measured_by": f"not measured: {error}", "timeline": []}
        progress.note(f"{name}, memory: {format_bytes(record['measured_peak_bytes'])}")
        path.parent.mkdir(exist_ok=True)
        replace_durably(path, json.dumps(record, indent=1).encode())
    return {name: value for name, value in record.items() if name != "key"}


def _measure(options: BenchmarkOptions, name: str) -> dict[str, Any]:
    from lightcl_profiler.measuring.joining import join_tasks
    from lightcl_profiler.measuring.launcher import run_method
    from lightcl_profiler.measuring.workload import make_workload

    method = cast("type[DeviceMethod]", type(make_method(name)))
    tasks = 1 if method.all_at_once else options.data.tasks
    scratch = options.out / "memory" / f"work-{name}"
    shutil.rmtree(scratch, ignore_errors=True)
    try:
        images = _BATCHES * options.batch_size * tasks
        workload = make_workload(options.data.data, scratch / "images", images, 0, tasks)
        jobs = [_job(options, name, method.strategy, str(folder), str(scratch)) for folder in workload.folders]
        run = join_tasks([run_method(job, 1) for job in jobs])
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return {
        "measured_peak_bytes": run.peak_rss_bytes,
        "measured_by": f"lightcl-edge train on {workload.images} images in {tasks} tasks, a process each; the largest",
        "timeline": [[seconds, rss] for seconds, rss, _ in run.timeline],
    }


def _job(options: BenchmarkOptions, name: str, strategy: str, data: str, scratch: str) -> Job:
    from lightcl_profiler.methods.contract import Job

    job = Job(
        method=name,
        implementation=_IMPLEMENTATION,
        bundle=str(bundle_path(options)),
        tasks=[data],
        scratch=scratch,
        epochs=1,
        batch_size=options.batch_size,
        learning_rate=0.0,
        threads=options.threads or usable_cores(),
        seed=0,
        engine=options.engine,
    )
    return replace(job, strategy=strategy, buffer_bytes=options.buffer_bytes)


def _key(options: BenchmarkOptions, bundle: Bundle, name: str) -> str:
    about = [name, bundle.identity, options.data.data, options.data.tasks, options.batch_size, options.buffer_bytes]
    return json.dumps([*about, options.engine, options.threads])
