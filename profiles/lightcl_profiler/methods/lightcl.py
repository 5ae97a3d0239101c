"""LightCL as this product does it: ``lightcl-edge train``, task after task."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from lightcl_edge.machine.process_memory import PhaseMeter
from lightcl_profiler.methods.contract import Job, Method, Outcome, outcome

if TYPE_CHECKING:
    from lightcl_edge.learning.options import TrainOptions


class LightClMethod(Method):
    """The device's own trainer with the ``lightcl`` strategy."""

    title: ClassVar[str] = "lightcl-edge train: frozen trunk in ONNX Runtime, LightCL on the head (Wang et al. 2025)"

    #: As on the device: each task is one call of ``lightcl-edge train``.
    process_per_task: ClassVar[bool] = True

    def imports(self, job: Job) -> None:
        """What every ``lightcl-edge train`` imports; torch only later, and only for the torch engine."""
        import onnxruntime  # noqa: F401

        import lightcl_edge.learning.train  # noqa: F401

    def run(self, job: Job, meter: PhaseMeter) -> Outcome:
        from lightcl_edge.console.progress import Progress
        from lightcl_edge.learning.train import train

        images, loss, engines, accuracy = 0, 0.0, set(), None
        for data in job.tasks:
            document = train(self.options(job, data), meter, Progress(quiet=True))
            images += int(document["images"])
            loss = float(document["loss"] or 0.0)
            engines.add(str(document["engine"]))
            accuracy = document["holdout_accuracy"]
        found = outcome(images, loss, [f"engine {' and '.join(sorted(engines))}"])
        return replace(found, holdout_accuracy=accuracy)

    def options(self, job: Job, data: str) -> TrainOptions:
        """The options of ``lightcl-edge train``; what it forgets is committed too, because memory is measured."""
        from lightcl_edge.learning.options import TrainOptions

        return TrainOptions(
            bundle=Path(job.bundle),
            state=Path(job.scratch) / "state",
            data=data,
            strategy=job.strategy,
            engine=job.engine,
            epochs=job.epochs,
            batch_size=job.batch_size,
            learning_rate=job.learning_rate,
            pattern_samples=job.buffer_samples,
            seed=job.seed,
            threads=job.threads,
            memory_budget_bytes=job.memory_budget_bytes,
            max_forgetting=1.0,
        )


class StrategyMethod(LightClMethod):
    """``lightcl-edge train`` with any strategy and that strategy's own numbers."""

    title: ClassVar[str] = "lightcl-edge train with a strategy of the device"

    def describe(self, name: str) -> str:
        return f"lightcl-edge train --strategy {name}: frozen trunk in ONNX Runtime"

    def options(self, job: Job, data: str) -> TrainOptions:
        """The same with the strategy's own learning rate and number of patterns."""
        buffer = None if job.buffer_bytes is None else f"{job.buffer_bytes}B"
        asked = super().options(job, data)
        return replace(asked, learning_rate=None, pattern_samples=None, buffer_size=buffer)
