"""What the race runs in PyTorch: a profiled method that is tested afterwards, in the same process.

The test images lie in the folder ``test`` beside the tasks. Testing is a phase of its own, which the race counts
neither in time nor in memory.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from lightcl_edge.machine.process_memory import PhaseMeter
from lightcl_profiler.methods.baseline import BaselineMethod, load_tasks
from lightcl_profiler.methods.contract import Job, Outcome
from peers.avalanche import AvalancheMethod
from peers.mammoth import MammothMethod
from peers.peer import PeerMethod

if TYPE_CHECKING:
    import torch

TESTING = "test"


class RacedBaseline(BaselineMethod):
    """A baseline of ours."""

    def run(self, job: Job, meter: PhaseMeter) -> Outcome:
        found = super().run(job, meter)
        with meter.phase(TESTING):
            return replace(found, holdout_accuracy=_accuracy(job, self.baseline.logits))


class _RacedPeer(PeerMethod):
    def run(self, job: Job, meter: PhaseMeter) -> Outcome:
        import torch

        found = super().run(job, meter)
        with meter.phase(TESTING), torch.no_grad():
            return replace(found, holdout_accuracy=_accuracy(job, self.network.eval()))


class RacedAvalanche(_RacedPeer, AvalancheMethod):
    """A strategy of Avalanche."""


class RacedMammoth(_RacedPeer, MammothMethod):
    """A model of Mammoth."""


def _accuracy(job: Job, logits: Callable[[torch.Tensor], torch.Tensor]) -> float:
    """The share of test images whose largest logit is their class's; as many test images a class."""
    beside = Path(job.tasks[0]).parent
    (images,), _, _ = load_tasks(replace(job, tasks=[str(beside / TESTING)]), "cpu", together=False)
    right = 0
    for batch in images.in_order(32):
        right += int((logits(batch.images).argmax(1) == batch.labels).sum())
    return right / len(images.labels)
