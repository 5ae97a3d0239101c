"""What a training will need, before it starts; what does not fit is refused.

The phases follow one another, so the plan's peak is the largest phase, not their sum. The base is this
process's size as it is now; the other figures come from the manifest's counts.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil

from lightcl_edge import memory
from lightcl_edge.console import format_bytes
from lightcl_edge.errors import DoesNotFitError
from lightcl_edge.extraction import extraction_batch
from lightcl_edge.machine import cgroup_limit
from lightcl_edge.manifest import Manifest

MIB = 2**20
#: What loading and a first session add to the process as it starts (measured on x86-64, onnxruntime 1.32, torch 2.13),
#: and what they add for training: the trunk's session leaves some heap behind that can't be returned.
ONNXRUNTIME_BYTES = 36 * MIB
ONNXRUNTIME_TRAINING_BYTES = 46 * MIB
TORCH_BYTES = 232 * MIB
#: Copies of the trunk's weights (file, initialisers re-laid for the processor), and of an image in preparation.
TRUNK_COPIES, PIXEL_COPIES = 2.0, 2.0
#: Buffers of the trunk's operators beside the activations themselves.
WORKSPACE_FACTOR = 1.2
#: torch: copies of the head while it is loaded; what one sample's activations cost with their gradients.
TORCH_HEAD_COPIES, TORCH_ACTIVATION_COPIES = 2.5, 3.3
#: Rows that pass the head at once outside of training.
FORWARD_ROWS = 64
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
    feature_bytes = math.prod(manifest.feature.shape)
    disk = images * (feature_bytes + 8) + 3 * manifest.cost.head_parameter_bytes
    train = _torch_bytes if engine == "torch" else _ort_bytes
    base = memory.sample(with_pss=False).rss_bytes or 0
    return Plan(base, _extract_bytes(manifest), train(manifest, batch_size, buffer_samples), disk)


def _extract_bytes(manifest: Manifest) -> int:
    """The trunk, and a batch of images on its way through it."""
    cost, pixels = manifest.cost, 4 * 3 * manifest.input.height * manifest.input.width
    image = WORKSPACE_FACTOR * cost.trunk_peak_activation_bytes + PIXEL_COPIES * pixels
    return int(ONNXRUNTIME_BYTES + TRUNK_COPIES * cost.trunk_parameter_bytes + extraction_batch(manifest) * image)


def _torch_bytes(manifest: Manifest, batch_size: int, buffer_samples: int) -> int:
    cost, rows = manifest.cost, batch_size + buffer_samples
    activations = TORCH_ACTIVATION_COPIES * rows * cost.head_activation_bytes
    return int(TORCH_BYTES + TORCH_HEAD_COPIES * cost.head_parameter_bytes + activations)


def _ort_bytes(manifest: Manifest, batch_size: int, buffer_samples: int) -> int:
    """The cheaper kind of update, as the engine chooses it: parameters, accumulators, the graph's own peak."""
    cost, rows = manifest.cost, batch_size + buffer_samples
    kinds = []
    for update, held in (("in_place", cost.head_parameter_bytes), ("accumulate", 2 * cost.head_parameter_bytes)):
        peaks = [graph.peak_bytes for graph in manifest.training_step if graph.update == update]
        if peaks:
            kinds.append(held + max(peaks))
    batch = rows * 4 * math.prod(manifest.feature.shape) + buffer_samples * cost.head_pattern_bytes
    return ONNXRUNTIME_TRAINING_BYTES + min(kinds, default=0) + batch


def plan_closed_form(manifest: Manifest, images: int) -> Plan:
    """Predict a run of a strategy without gradients: the head forward, a covariance, and the classifier from it.

    Args:
        manifest: of the bundle.
        images: of the task.

    Returns:
        The plan.
    """
    cost = manifest.cost
    batch = FORWARD_ROWS * (4 * math.prod(manifest.feature.shape) + cost.head_activation_bytes)
    train = ONNXRUNTIME_TRAINING_BYTES + 2 * cost.head_parameter_bytes + batch + covariance_bytes(manifest)
    disk = images * (math.prod(manifest.feature.shape) + 8) + cost.head_parameter_bytes + covariance_bytes(manifest)
    base = memory.sample(with_pss=False).rss_bytes or 0
    return Plan(base, _extract_bytes(manifest), train, disk)


def covariance_bytes(manifest: Manifest) -> int:
    """The scatter in float64, the covariance in float32, and the solver's copy of it."""
    return 16 * manifest.head.penultimate_size**2


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
            f"allowed are {format_bytes(limit)}; raise --memory-budget, lower --batch-size or --pattern-samples, "
            "or export a bundle with a later cut"
        )
    free = psutil.disk_usage(str(folder)).free
    if plan.disk_bytes > free:
        raise DoesNotFitError(
            f"the plan needs {format_bytes(plan.disk_bytes)} of disk at {folder}, free are {format_bytes(free)}; "
            "free some space or train on fewer images at once"
        )
