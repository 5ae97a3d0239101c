"""``benchmark.json``: every figure of a benchmark, and where it comes from."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime, timezone
from typing import Any

from lightcl_edge.bundle.bundle import Bundle
from lightcl_edge.console.progress import Progress
from lightcl_edge.machine.description import describe_machine
from lightcl_host.benchmark.calculated import calculate, count_bundle
from lightcl_host.benchmark.methods import METHODS
from lightcl_host.benchmark.options import BenchmarkOptions
from lightcl_host.benchmark.peaks import peak
from lightcl_host.benchmark.report import summarise
from lightcl_profiler.paper.published import BY_DATA, Published

#: Our methods whose name differs from the paper's row.
_ROWS = {"joint_torch": "joint", "joint": None}


def make_document(
    options: BenchmarkOptions, bundle: Bundle, records: list[dict[str, Any]], command: str, progress: Progress
) -> dict[str, Any]:
    """What goes into ``benchmark.json`` and the page; ``command`` repeats the benchmark.

    It sums up the runs, calculates the paper's figures, and measures memory that no run has measured.
    """
    classes = len(records[0]["per_class"])
    net = count_bundle(options, bundle, classes)
    entries = summarise(records)
    for entry in entries:
        runs = [record for record in records if record["method"] == entry["method"]]
        entry.update(peak(options, bundle, entry["method"], runs, progress))
        entry.update(calculate(options, bundle, net, runs[0]))
        entry["published"] = _published(options.data.data, entry["method"])
    name = options.data.data.partition(":")[0]
    return {
        "methods": entries,
        "setting": _setting(options, bundle, records[0]),
        "published_data": BY_DATA[name][0] if name in BY_DATA else None,
        "left_out": left_out([str(entry["method"]) for entry in entries]),
        "not_calculated": net if isinstance(net, str) else None,
        "machine": asdict(describe_machine()),
        "command": command,
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "report": str(options.out / "benchmark.json"),
        "page": str(options.out / "report.html"),
    }


def left_out(measured: Sequence[str]) -> dict[str, str]:
    """The methods that were not asked for, with their titles; ``auto`` stands for one of the others."""
    return {name: entry.title for name, entry in METHODS.items() if name not in (*measured, "auto")}


def _setting(options: BenchmarkOptions, bundle: Bundle, record: dict[str, Any]) -> dict[str, Any]:
    info = bundle.manifest.input
    asked = ("buffer_bytes", "batch_size", "epochs", "learning_rate", "threads", "jobs", "seeds", "engine")
    return {
        **asdict(options.data),
        "model": options.source.model,
        "weights": options.source.weights,
        "image_size": options.source.image_size,
        "input_height": info.height,
        "input_width": info.width,
        "cut": bundle.manifest.model.cut,
        "training_images": record["training_images"],
        "test_images": record["test_images"],
        **{name: getattr(options, name) for name in (*asked, "torch_device")},
    }


def _published(data: str, method: str) -> dict[str, float | str | None] | None:
    """The paper's row for a method on a data set of the paper."""
    name = data.partition(":")[0]
    row = _ROWS.get(method, method)
    found: Published | None = BY_DATA[name][1].get(row) if name in BY_DATA and row is not None else None
    if found is None:
        return None
    return {
        "name": found.name,
        "memory_mib": found.memory_mib,
        "class_incremental_percent": found.class_incremental,
        "task_incremental_percent": found.task_incremental,
        "peta_operations": found.peta_operations,
    }
