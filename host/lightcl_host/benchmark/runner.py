"""Runs every method with every seed, each in a process of its own. A finished run is not repeated."""

import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from lightcl_edge.bundle.bundle import Bundle
from lightcl_edge.console.progress import Progress
from lightcl_edge.errors import BundleError
from lightcl_edge.files.durable import replace_durably
from lightcl_edge.machine.description import usable_cores
from lightcl_host.benchmark.data import BenchmarkData
from lightcl_host.benchmark.feature_cache import FeatureCache
from lightcl_host.benchmark.methods import METHODS
from lightcl_host.benchmark.options import BenchmarkOptions
from lightcl_host.benchmark.processes import Launcher, RunJob, run_all


def run_benchmark(
    options: BenchmarkOptions, bundle: Bundle, progress: Progress, launcher: Launcher | None = None
) -> list[dict[str, Any]]:
    """Run what is not finished yet.

    Args:
        options: what to compare.
        bundle: of :func:`benchmark_bundle`.
        progress: tells how far it is.
        launcher: where methods run; None for processes here.

    Returns:
        A record for each method and seed, in that order. Finished runs are kept when a later one fails.
    """
    data = BenchmarkData(options.data)
    _check_room(bundle, len(data.classes))
    (options.out / "runs").mkdir(parents=True, exist_ok=True)
    wanted = [(name, seed) for name in options.methods for seed in options.seeds]
    keys = {run: _key(options, bundle, *run) for run in wanted}
    records = {run: record for run in wanted if (record := finished(_path(options, *run), keys[run])) is not None}
    missing = [run for run in wanted if run not in records]
    _extract(options, bundle, data, missing, progress)
    jobs = [RunJob(_shared(options), options.bundle_path, *run) for run in missing]
    for job, record in run_all(jobs, options.jobs, progress.note, launcher):
        run = (job.method, job.seed)
        records[run] = {"key": keys[run], **record}
        replace_durably(_path(options, *run), json.dumps(records[run], indent=1).encode())
    shutil.rmtree(options.out / "scratch", ignore_errors=True)
    return [records[run] for run in wanted]


def _shared(options: BenchmarkOptions) -> BenchmarkOptions:
    """Runs at the same time share the processors."""
    if options.jobs == 1 or options.threads is not None:
        return options
    return replace(options, threads=max(1, usable_cores() // options.jobs))


def _path(options: BenchmarkOptions, name: str, seed: int) -> Path:
    return options.out / "runs" / f"{name}-{seed}.json"


def _extract(
    options: BenchmarkOptions,
    bundle: Bundle,
    data: BenchmarkData,
    missing: Sequence[tuple[str, int]],
    progress: Progress,
) -> None:
    """Extract the features of all images that the missing runs learn or are tested on; the runs only read them."""
    seeds = dict.fromkeys(seed for name, seed in missing if METHODS[name].on_device)
    if not seeds:
        return
    cache = FeatureCache(options.features, bundle, data.datasets, options.threads, progress)
    for part in (data.test(), *(data.everything(seed).images for seed in seeds)):
        cache.extract(part)


def _check_room(bundle: Bundle, classes: int) -> None:
    if bundle.manifest.head.capacity < classes:
        raise BundleError(
            f"the bundle has room for {bundle.manifest.head.capacity} classes, the data have {classes}; "
            f"export one with --max-classes {classes} or more"
        )


def benchmark_bundle(options: BenchmarkOptions, progress: Progress) -> Bundle:
    """The bundle that the options name, else one that is exported here the first time."""
    from lightcl_host.export.export import export_bundle
    from lightcl_host.export.options import DEFAULT_CAPACITY, ExportOptions

    if options.bundle is not None:
        return Bundle.open(options.bundle)
    out, note = options.bundle_path, options.out / "bundle.json"
    wanted = json.dumps([asdict(options.source), options.cut, options.trunk_dtype, options.data.data])
    if not (out.is_dir() and note.is_file() and note.read_text() == wanted):
        classes = len(BenchmarkData(options.data).classes)
        export = ExportOptions(
            source=options.source,
            out=out,
            force=True,  # the folder is the benchmark's own
            cut=options.cut,
            trunk_dtype=options.trunk_dtype,
            calibration=options.data.data,
            capacity=max(DEFAULT_CAPACITY, classes),
        )
        export_bundle(export, progress)
        note.write_text(wanted)
    return Bundle.open(out)


def _key(options: BenchmarkOptions, bundle: Bundle, name: str, seed: int) -> str:
    about = {
        "bundle": bundle.identity,
        "data": asdict(options.data),
        "buffer": options.buffer_bytes,
        "epochs": options.epochs,
        "batch": options.batch_size,
        "rate": options.learning_rate,
        "engine": options.engine,
        "method": name,
        "seed": seed,
    }
    return json.dumps(about, sort_keys=True)


def finished(path: Path, key: str) -> dict[str, Any] | None:
    """The finished record in a file, if it has this key."""
    try:
        record: dict[str, Any] = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    return record if record.get("key") == key else None
