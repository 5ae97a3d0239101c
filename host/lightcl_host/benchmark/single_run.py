"""One method with one seed: it learns task after task, and is tested on all test images after each."""

import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lightcl_edge.bundle.bundle import Bundle
from lightcl_edge.console.progress import Progress
from lightcl_host.benchmark.contract import Method, Setting
from lightcl_host.benchmark.data import BenchmarkData
from lightcl_host.benchmark.feature_cache import FeatureCache
from lightcl_host.benchmark.methods import METHODS, make_method
from lightcl_host.benchmark.metrics import Matrix, forward_transfer, measure, transfers, unknown_auroc
from lightcl_host.benchmark.options import BenchmarkOptions


def run_single(options: BenchmarkOptions, bundle_path: Path, name: str, seed: int, note: Callable[[str], None]) -> Any:
    """Run a method of ``METHODS``; returns the run's record, ready for JSON."""
    data, bundle = BenchmarkData(options.data), Bundle.open(bundle_path)
    features = FeatureCache(options.features, bundle, data.datasets, options.threads, Progress(quiet=True))
    scratch = options.out / "scratch" / f"{name}-{seed}"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    method = make_method(name)
    entry = METHODS[name]
    try:
        method.begin(Setting(options, bundle, data.classes, features, seed, scratch, note))
        learned = _learn(method, data, seed, all_at_once=entry.all_at_once)
        return {"method": name, "title": entry.title, "seed": seed, **learned}
    finally:
        method.close()
        shutil.rmtree(scratch, ignore_errors=True)


def _learn(method: Method, data: BenchmarkData, seed: int, *, all_at_once: bool) -> dict[str, Any]:
    test, tasks = data.test(), data.tasks(seed)
    parts = [data.everything(seed)] if all_at_once else tasks
    class_matrix: Matrix = []
    task_matrix: Matrix = []
    unknown: float | None = None
    seconds = 0.0
    for place, part in enumerate(parts):
        started = time.monotonic()
        method.learn(part)
        seconds += time.monotonic() - started
        seen = len(tasks) if all_at_once else place + 1
        found = measure(method.scores(test), test.labels, data.task_classes, seen)
        class_matrix.append(found.class_incremental)
        task_matrix.append(found.task_incremental)
        if seen == len(tasks) - 1:  # the classes of the last task are the unknown ones
            known = [row for rows in data.task_classes[:seen] for row in rows]
            unknown = unknown_auroc(method.novelty(test), test.labels, known)
    forgetting, backward = transfers(class_matrix)
    chance = [1 / len(rows) for rows in data.task_classes]
    return {
        "class_incremental": _mean(class_matrix[-1], data, test.labels),
        "task_incremental": _mean(task_matrix[-1], data, test.labels),
        "forgetting": forgetting,
        "backward_transfer": backward,
        "forward_transfer": None if all_at_once else forward_transfer(task_matrix, chance),
        "expected_calibration_error": found.expected_calibration_error,
        "error_auroc": found.error_auroc,
        "unknown_auroc": unknown,
        "class_incremental_matrix": class_matrix,
        "task_incremental_matrix": task_matrix,
        "per_class": dict(zip(data.classes, found.per_class, strict=True)),
        "training_images": sum(len(part.images) for part in parts),
        "task_images": [len(part.images) for part in parts],
        "test_images": len(test),
        "learning_seconds": seconds,
        **asdict(method.facts()),
    }


def _mean(accuracies: Sequence[float], data: BenchmarkData, labels: Any) -> float:
    """Over all test images, so that a task counts by its images."""
    counts = [sum(int((labels == row).sum()) for row in rows) for rows in data.task_classes]
    return sum(share * count for share, count in zip(accuracies, counts, strict=True)) / sum(counts)
