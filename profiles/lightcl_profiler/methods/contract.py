"""What a profiled method must do, and what it is given."""

import importlib
import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from lightcl_edge.errors import UsageError
from lightcl_edge.machine.process_memory import PhaseMeter


@dataclass(frozen=True)
class Job:
    """The same for every method of a profile."""

    method: str
    implementation: str
    bundle: str
    tasks: list[str]
    scratch: str
    epochs: int
    batch_size: int
    learning_rate: float
    threads: int
    seed: int
    engine: str
    buffer_samples: int = 15
    device: str = "auto"
    memory_budget_bytes: int | None = None  # of the trainer's own plan; None for what the machine has
    strategy: str = "lightcl"
    buffer_bytes: int | None = None  # the most its feature buffer may hold; None for the default


@dataclass(frozen=True)
class Outcome:
    """What a method says about its run; all memory is measured from outside or by the kernel."""

    images: int
    loss: float | None  # mean of the last epoch of the last task; None when it was not finite
    notes: list[str] = field(default_factory=list)
    calculated_bytes: int | None = None
    holdout_accuracy: float | None = None  # after the last task, mean over classes, where the method holds images out


def outcome(images: int, loss: float, notes: list[str]) -> Outcome:
    """An outcome; a loss that is not finite becomes a note: memory and time were measured all the same."""
    if math.isfinite(loss):
        return Outcome(images, loss, notes)
    return Outcome(images, None, [*notes, f"the loss became {loss}; a lower --learning-rate would keep it finite"])


class Method(ABC):
    """A way of learning."""

    title: ClassVar[str]
    process_per_task: ClassVar[bool] = False

    def describe(self, name: str) -> str:
        """The line that says what the method is."""
        return self.title

    def check(self, name: str, bundle: Path) -> None:  # noqa: B027 - most need nothing more than the product
        """Refuse, before any method runs and without importing, what :meth:`imports` could not import here."""

    @abstractmethod
    def imports(self, job: Job) -> None:
        """Import what the method needs before it sees data, and nothing else."""

    @abstractmethod
    def run(self, job: Job, meter: PhaseMeter) -> Outcome:
        """Learn the job's tasks one after the other."""


def load_method(implementation: str) -> Method:
    """Import a method's class and make one; a UsageError when there is no such class, or it is not a method."""
    module, _, name = implementation.partition(":")
    try:
        kind = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise UsageError(f"method {implementation!r} can't be loaded ({error}), expected module:Class") from error
    if not (isinstance(kind, type) and issubclass(kind, Method)):
        raise UsageError(f"{implementation!r} is not a profiler method, expected a subclass of Method")
    return kind()
