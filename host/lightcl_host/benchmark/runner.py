"""Runs every method with every seed, one after the other; what is finished is not run again."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lightcl_edge.bundle import Bundle
from lightcl_edge.console import Progress
from lightcl_edge.durable import replace_durably
from lightcl_edge.errors import BundleError
from lightcl_host.benchmark.contract import Method, Setting
from lightcl_host.benchmark.data import BenchmarkData, DataOptions
from lightcl_host.benchmark.feature_cache import FeatureCache
from lightcl_host.benchmark.methods import make_method
from lightcl_host.benchmark.metrics import Matrix, forward_transfer, measure, transfers
from lightcl_host.sources import SourceOptions


@dataclass(frozen=True)
class BenchmarkOptions:
    """What to compare, and how.

    Attributes:
        source: the network.
        bundle: an exported bundle; None to export one into ``out``.
        cut: where a bundle is cut that is exported here.
        trunk_dtype: of a bundle that is exported here.
        data: what is learned and tested on.
        methods: names.
        seeds: each method is run with each.
        buffer_bytes: the most a method may keep of earlier tasks' images or features.
        epochs: None for each method's own default.
        batch_size: samples a step.
        learning_rate: None for each method's own default.
        threads: of each library; None for all processors.
        engine: of the device's strategies.
        out: folder of results.
    """

    source: SourceOptions
    bundle: Path | None
    cut: str
    trunk_dtype: str
    data: DataOptions
    methods: list[str]
    seeds: list[int]
    buffer_bytes: int
    epochs: int | None
    batch_size: int
    learning_rate: float | None
    threads: int | None
    engine: str
    out: Path


def run_benchmark(options: BenchmarkOptions, progress: Progress) -> list[dict[str, Any]]:
    """Run what is not there yet.

    Args:
        options: what to compare.
        progress: tells how far it is.

    Returns:
        A record for each method and seed, in that order.

    Raises:
        LightclError: when a method can't run; what was finished before stays.
    """
    data = BenchmarkData(options.data)
    bundle = _bundle(options, progress, len(data.classes))
    features = FeatureCache(options.out / "features", bundle, data.datasets, options.threads, progress)
    (options.out / "runs").mkdir(parents=True, exist_ok=True)
    records = []
    for name in options.methods:
        for seed in options.seeds:
            path = options.out / "runs" / f"{name}-{seed}.json"
            key = _key(options, bundle, name, seed)
            record = _finished(path, key)
            if record is None:
                progress.note(f"{name}, seed {seed}")
                record = {"key": key, **_run(options, bundle, data, features, name, seed, progress)}
                replace_durably(path, json.dumps(record, indent=1).encode())
            records.append(record)
    return records


def _bundle(options: BenchmarkOptions, progress: Progress, classes: int) -> Bundle:
    """The bundle that was named, or one made here, the first time."""
    from lightcl_host.export import DEFAULT_CAPACITY, ExportOptions, export_bundle

    if options.bundle is not None:
        bundle = Bundle.open(options.bundle)
        if bundle.manifest.head.capacity < classes:
            raise BundleError(
                f"the bundle has room for {bundle.manifest.head.capacity} classes, the data have {classes}; "
                f"export one with --max-classes {classes} or more"
            )
        return bundle
    out, note = options.out / "bundle", options.out / "bundle.json"
    wanted = json.dumps([asdict(options.source), options.cut, options.trunk_dtype, options.data.data])
    if not (out.is_dir() and note.is_file() and note.read_text() == wanted):
        export = ExportOptions(
            source=options.source,
            out=out,
            cut=options.cut,
            trunk_dtype=options.trunk_dtype,
            calibration=options.data.data,
            capacity=max(DEFAULT_CAPACITY, classes),
        )
        export_bundle(export, progress)
        note.write_text(wanted)
    return Bundle.open(out)


def _key(options: BenchmarkOptions, bundle: Bundle, name: str, seed: int) -> str:
    """Equal for equal runs."""
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


def _finished(path: Path, key: str) -> dict[str, Any] | None:
    """The record of an equal run, if there is one."""
    try:
        record: dict[str, Any] = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    return record if record.get("key") == key else None


def _run(
    options: BenchmarkOptions,
    bundle: Bundle,
    data: BenchmarkData,
    features: FeatureCache,
    name: str,
    seed: int,
    progress: Progress,
) -> dict[str, Any]:
    """One method with one seed."""
    scratch = options.out / "scratch"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    method = make_method(name)
    setting = Setting(
        source=options.source,
        bundle=bundle,
        classes=data.classes,
        tasks=options.data.tasks,
        features=features,
        buffer_bytes=options.buffer_bytes,
        epochs=options.epochs,
        batch_size=options.batch_size,
        learning_rate=options.learning_rate,
        seed=seed,
        threads=options.threads,
        engine=options.engine,
        scratch=scratch,
        note=progress.note,
    )
    try:
        method.begin(setting)
        return {"method": name, "title": method.title, "seed": seed, **_learn(method, data, seed)}
    finally:
        method.close()
        shutil.rmtree(scratch, ignore_errors=True)


def _learn(method: Method, data: BenchmarkData, seed: int) -> dict[str, Any]:
    """All tasks, each followed by a look at all test images."""
    test, tasks = data.test(), data.tasks(seed)
    parts = [data.everything(seed)] if method.all_at_once else tasks
    class_matrix: Matrix = []
    task_matrix: Matrix = []
    per_class: list[float] = []
    seconds = 0.0
    for place, part in enumerate(parts):
        started = time.monotonic()
        method.learn(part)
        seconds += time.monotonic() - started
        seen = len(tasks) if method.all_at_once else place + 1
        found = measure(method.scores(test), test.labels, data.task_classes, seen)
        class_matrix.append(found.class_incremental)
        task_matrix.append(found.task_incremental)
        per_class = found.per_class
    forgetting, backward = transfers(class_matrix)
    chance = [1 / len(rows) for rows in data.task_classes]
    return {
        "class_incremental": _mean(class_matrix[-1], data, test.labels),
        "task_incremental": _mean(task_matrix[-1], data, test.labels),
        "forgetting": forgetting,
        "backward_transfer": backward,
        "forward_transfer": None if method.all_at_once else forward_transfer(task_matrix, chance),
        "class_incremental_matrix": class_matrix,
        "task_incremental_matrix": task_matrix,
        "per_class": dict(zip(data.classes, per_class, strict=True)),
        "training_images": sum(len(part.images) for part in parts),
        "test_images": len(test),
        "learning_seconds": seconds,
        **asdict(method.facts()),
    }


def _mean(accuracies: Sequence[float], data: BenchmarkData, labels: Any) -> float:
    """Over all test images: tasks count by their images."""
    counts = [sum(int((labels == row).sum()) for row in rows) for rows in data.task_classes]
    return sum(share * count for share, count in zip(accuracies, counts, strict=True)) / sum(counts)
