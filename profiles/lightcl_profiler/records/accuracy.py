"""What each method knew after each task, read from a benchmark's JSON for pages that also show memory."""

import json
from dataclasses import dataclass
from pathlib import Path

from lightcl_edge.errors import DataError
from lightcl_edge.files.records import read_record

#: Names a benchmark has for methods that are called otherwise in a profile.
_SAME = {"joint_torch": "joint"}
_EXPECTED = "benchmark.json of lightcl-host benchmark"


@dataclass(frozen=True)
class Mean:
    """Over the seeds, a share of 0 to 1."""

    mean: float


@dataclass(frozen=True)
class Accuracy:
    """One method over all seeds."""

    method: str
    class_incremental: Mean
    task_incremental: Mean
    class_incremental_matrix: list[list[float]]

    @property
    def after_each_task(self) -> list[float]:
        """Over the classes seen so far; a single value for a method that learns all at once."""
        return after_each_task(self.class_incremental_matrix, self.class_incremental.mean)


def after_each_task(matrix: list[list[float]], final: float) -> list[float]:
    """The mean accuracy over the tasks seen so far, after each task; ``final`` alone when all is learned at once.

    The matrix has a row after each task and a column for each task, 0 to 1.
    """
    if len(matrix) == 1:
        return [final]
    return [sum(row[: i + 1]) / (i + 1) for i, row in enumerate(matrix)]


@dataclass(frozen=True)
class Setting:
    """What was learned."""

    model: str
    tasks: int
    data: str
    training_images: int
    test_images: int
    seeds: list[int]


@dataclass(frozen=True)
class Benchmark:
    """The accuracies in ``benchmark.json``."""

    methods: list[Accuracy]
    setting: Setting
    command: str | None = None

    @property
    def by_method(self) -> dict[str, Accuracy]:
        """The name in a profile -> the accuracy; the first counts where two have one name."""
        return {_SAME.get(each.method, each.method): each for each in reversed(self.methods)}

    @property
    def description(self) -> str:
        """What was learned, in words."""
        about = self.setting
        images = f"{about.training_images} training and {about.test_images} test images"
        seeds = ", ".join(map(str, about.seeds))
        return f"{about.model}, {about.tasks} tasks of {about.data}; {images}, seeds {seeds}"


def read_benchmark(path: Path) -> Benchmark:
    """Read what ``lightcl-host benchmark`` wrote; a DataError when it can't be read or is something else."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        reason = "there is no such file" if isinstance(error, FileNotFoundError) else error.strerror
        raise DataError(f"{path} can't be read: {reason}; expected {_EXPECTED}") from error
    except ValueError as error:
        raise DataError(f"{path} is not JSON ({error}); expected {_EXPECTED}") from error
    return read_record(Benchmark, document, str(path), expected=_EXPECTED)
