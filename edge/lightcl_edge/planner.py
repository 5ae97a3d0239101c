"""What a training will need, before it starts; what does not fit is refused.

The phases follow one another, so the plan's peak is the largest phase, not their sum. The base is this
process's size as it is now; the other figures come from the manifest's counts.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil

from lightcl_edge import memory
from lightcl_edge.console import format_bytes
from lightcl_edge.errors import DoesNotFitError
from lightcl_edge.extraction import EXTRACTION_BATCH
from lightcl_edge.machine import cgroup_limit
from lightcl_edge.manifest import Manifest

MIB = 2**20
#: What loading costs beyond the process as it starts (measured on x86-64, onnxruntime 1.32, torch 2.13).
ONNXRUNTIME_BYTES = 30 * MIB
TORCH_BYTES = 200 * MIB
#: Buffers of a graph's operators beside the activations themselves (im2col, packed weights).
WORKSPACE_FACTOR = 1.5
#: Left for everything else on the board.
RESERVE_BYTES = 16 * MIB


@dataclass(frozen=True)
class Plan:
    """Predicted bytes of a training run.

    Attributes:
        base_bytes: this process before it loads anything.
        extract_bytes: added by the trunk and one batch of images.
        train_bytes: added by the engine, the head and one batch of features.
        disk_bytes: feature store, checkpoint and one generation.
    """

    base_bytes: int
    extract_bytes: int
    train_bytes: int
    disk_bytes: int

    @property
    def peak_bytes(self) -> int:
        """The largest phase."""
        return self.base_bytes + max(self.extract_bytes, self.train_bytes)

    def document(self) -> dict[str, Any]:
        """For ``--json``."""
        return {**asdict(self), "peak_bytes": self.peak_bytes}


def plan_training(manifest: Manifest, engine: str, batch_size: int, buffer_samples: int, images: int) -> Plan:
    """Predict a run.

    Args:
        manifest: of the bundle.
        engine: ``ort`` or ``torch``.
        batch_size: samples a step.
        buffer_samples: samples with patterns a step.
        images: of the task.

    Returns:
        The plan.
    """
    cost, size = manifest.cost, manifest.input
    pixels = 4 * 3 * size.height * size.width
    trunk = ONNXRUNTIME_BYTES + 2 * cost.trunk_parameter_bytes
    trunk += int(EXTRACTION_BATCH * (WORKSPACE_FACTOR * cost.trunk_peak_activation_bytes + 2 * pixels))
    rows = batch_size + buffer_samples
    # The old head stays beside the new one until the gate has compared them.
    head = 2 * cost.head_parameter_bytes
    if engine == "torch":
        head += TORCH_BYTES + cost.head_parameter_bytes + 2 * rows * cost.head_activation_bytes
    else:
        head += ONNXRUNTIME_BYTES + int(rows * WORKSPACE_FACTOR * cost.head_activation_bytes)
    feature_bytes = 1
    for side in manifest.feature.shape:
        feature_bytes *= side
    disk = images * (feature_bytes + 8) + 3 * cost.head_parameter_bytes
    return Plan(memory.sample(with_pss=False).rss_bytes or 0, trunk, head, disk)


def available_bytes() -> int:
    """Memory this process may take, its present size included, with a reserve left for everything else."""
    free = int(psutil.virtual_memory().available) + (memory.sample(with_pss=False).rss_bytes or 0)
    _, limit = cgroup_limit()
    return min(free, limit if limit is not None else free) - RESERVE_BYTES


def refuse_what_does_not_fit(plan: Plan, budget_bytes: int | None, folder: Path) -> None:
    """Stop before anything is started.

    Args:
        plan: the prediction.
        budget_bytes: what the user allows; None for what the machine has.
        folder: where the run writes.

    Raises:
        DoesNotFitError: with the plan's figures and what to change.
    """
    limit = available_bytes() if budget_bytes is None else budget_bytes
    if plan.peak_bytes > limit:
        raise DoesNotFitError(
            f"the plan needs {format_bytes(plan.peak_bytes)} of memory (process {format_bytes(plan.base_bytes)}, "
            f"then images to features {format_bytes(plan.extract_bytes)}, "
            f"then training {format_bytes(plan.train_bytes)}), "
            f"allowed are {format_bytes(limit)}; raise --memory-budget, lower --batch-size or --buffer-size, "
            "or export a bundle with a later cut"
        )
    free = psutil.disk_usage(str(folder)).free
    if plan.disk_bytes > free:
        raise DoesNotFitError(
            f"the plan needs {format_bytes(plan.disk_bytes)} of disk at {folder}, free are {format_bytes(free)}; "
            "free some space or train on fewer images at once"
        )
