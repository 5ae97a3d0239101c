"""LightCL as this product does it: ``lightcl-edge train``, task after task."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from lightcl_edge.memory import PhaseMeter
from lightcl_profiler.methods.contract import Job, Method, Outcome, outcome


class LightClMethod(Method):
    """The device's own trainer with the ``lightcl`` strategy."""

    title: ClassVar[str] = "lightcl-edge train: frozen trunk in ONNX Runtime, LightCL on the head (Wang et al. 2025)"

    #: As on the device: each task is one call of ``lightcl-edge train``.
    process_per_task: ClassVar[bool] = True

    def imports(self, job: Job) -> None:
        """What every ``lightcl-edge train`` imports; torch only later, and only for the torch engine."""
        del job
        import onnxruntime  # noqa: F401

        import lightcl_edge.trainer  # noqa: F401

    def run(self, job: Job, meter: PhaseMeter) -> Outcome:
        """Train the tasks into a fresh state."""
        from lightcl_edge.console import Progress
        from lightcl_edge.trainer import TrainOptions, train

        images, loss, engines = 0, 0.0, set()
        for data in job.tasks:
            options = TrainOptions(
                bundle=Path(job.bundle),
                state=Path(job.scratch) / "state",
                data=data,
                strategy="lightcl",
                engine=job.engine,
                epochs=job.epochs,
                batch_size=job.batch_size,
                learning_rate=job.learning_rate,
                pattern_samples=job.buffer_samples,
                seed=job.seed,
                threads=job.threads,
                memory_budget_bytes=job.memory_budget_bytes,
            )
            document = train(options, meter, Progress(quiet=True))
            images += int(document["images"])
            loss = float(document["loss"])
            engines.add(str(document["engine"]))
        return outcome(images, loss, [f"engine {' and '.join(sorted(engines))}"])
