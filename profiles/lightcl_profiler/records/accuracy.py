"""What a method knew after each task, for reports: read from a benchmark's JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lightcl_edge.errors import DataError

#: Names a benchmark has for methods that are called otherwise in a profile.
_SAME = {"joint_torch": "joint"}


@dataclass(frozen=True)
class Accuracy:
    """One method over all seeds.

    Attributes:
        method: its name in a profile.
        seeds: how many.
        class_incremental: mean over seeds of the accuracy over all classes after the last task, 0 to 1.
        task_incremental: the same with the task known.
        spread: standard deviation of ``class_incremental`` over the seeds.
        forgetting: mean over seeds of the average forgetting; None for methods that learn all at once.
        after_each_task: class-incremental accuracy over the classes seen so far; one value for all at once.
    """

    method: str
    seeds: int
    class_incremental: float
    task_incremental: float
    spread: float
    forgetting: float | None
    after_each_task: list[float]


@dataclass(frozen=True)
class AccuracyRun:
    """A benchmark.

    Attributes:
        description: what was learned, in words.
        command: that repeats it, where it is known.
        methods: its results.
    """

    description: str
    command: str | None
    methods: dict[str, Accuracy]


def read_benchmark(path: Path) -> AccuracyRun:
    """Read what ``lightcl-host benchmark`` wrote.

    Args:
        path: its ``benchmark.json``.

    Returns:
        The accuracies; of two methods with one name in a profile the first counts.

    Raises:
        DataError: when it is something else.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        setting = document["setting"]
        methods: dict[str, Accuracy] = {}
        for entry in document["methods"]:
            found = _accuracy(entry)
            methods.setdefault(found.method, found)
    except OSError as error:
        reason = "there is no such file" if isinstance(error, FileNotFoundError) else error.strerror
        raise DataError(f"{path} can't be read: {reason}; expected benchmark.json of lightcl-host benchmark") from error
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{path} is no benchmark ({error!r}); expected benchmark.json of lightcl-host benchmark"
        ) from error
    return AccuracyRun(_describe(setting), document.get("command"), methods)


def _accuracy(entry: Mapping[str, Any]) -> Accuracy:
    matrix: list[list[float]] = entry["class_incremental_matrix"]
    seen = [sum(row[: i + 1]) / (i + 1) for i, row in enumerate(matrix)] if len(matrix) > 1 else []
    forgetting = entry["forgetting"] if len(matrix) > 1 else None
    return Accuracy(
        method=_SAME.get(str(entry["method"]), str(entry["method"])),
        seeds=len(entry["seeds"]),
        class_incremental=float(entry["class_incremental"]["mean"]),
        task_incremental=float(entry["task_incremental"]["mean"]),
        spread=float(entry["class_incremental"]["deviation"]),
        forgetting=None if forgetting is None else float(forgetting["mean"]),
        after_each_task=seen or [float(entry["class_incremental"]["mean"])],
    )


def _describe(setting: Mapping[str, Any]) -> str:
    settings = f"{setting['model']}, {setting['tasks']} tasks of {setting['data']}"
    images = f"{setting['training_images']} training and {setting['test_images']} test images"
    return f"{settings}; {images}, seeds {', '.join(str(seed) for seed in setting['seeds'])}"
