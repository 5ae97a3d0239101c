"""How another library's method is run beside ours: on the same network, images, batches and buffer."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from lightcl_edge.machine.process_memory import PhaseMeter
from lightcl_profiler.methods.baseline import load_tasks
from lightcl_profiler.methods.contract import Job, Method, Outcome, outcome

if TYPE_CHECKING:
    import torch

    from lightcl_profiler.baselines.learning import Images


class PeerMethod(Method):
    """A method of a library that a user would take instead; ``network`` is what it trains."""

    network: torch.nn.Module

    def imports(self, job: Job) -> None:
        import torch

        from lightcl_profiler.networks.whole_network import import_builder

        torch.set_num_threads(job.threads)
        self.import_library(job)
        import_builder(Path(job.bundle))

    def run(self, job: Job, meter: PhaseMeter) -> Outcome:
        import torch

        from lightcl_profiler.networks.whole_network import load_whole_network

        torch.manual_seed(job.seed)
        with meter.phase("load"):
            tasks, classes, _ = load_tasks(job, "cpu", together=False)
            self.network, _ = load_whole_network(Path(job.bundle), classes)
            lessons = self.lessons(job, tasks, classes)
        loss = 0.0
        for learn in lessons:
            with meter.phase("train"):
                loss = learn()
        return outcome(sum(len(task.labels) for task in tasks), loss, [self.title])

    @abstractmethod
    def import_library(self, job: Job) -> None:
        """Import it. Raises NoEngineError where it is missing."""

    @abstractmethod
    def lessons(self, job: Job, tasks: list[Images], classes: int) -> list[Callable[[], float]]:
        """For each task what learns it, one after the other; each gives its last loss."""
