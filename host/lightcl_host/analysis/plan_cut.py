"""What learning after a cut would need on a device, predicted from counts of the graph alone.

The one place where the analysis asks for a prediction; the cost model behind it is :mod:`lightcl_host.cost`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lightcl_edge.manifest import CostInfo
from lightcl_host.cost.cut_figures import cut_manifest
from lightcl_host.cost.prediction import predict, task_multiply_adds

if TYPE_CHECKING:
    from lightcl_host.graph import Cut
    from lightcl_host.sources import Source


@dataclass(frozen=True)
class CutPlan:
    """Predicted cost of one task after a cut.

    Attributes:
        extract_bytes: peak of the whole process while images become features, with a float32 trunk.
        train_bytes: peak of the whole process while the head is trained.
        peak_bytes: the largest phase.
        disk_bytes: feature store, checkpoint and one generation.
        relative_time: multiply-adds of the task over those of training the whole network for as many epochs.
    """

    extract_bytes: int
    train_bytes: int
    peak_bytes: int
    disk_bytes: int
    relative_time: float


def plan_cut(source: Source, cut: Cut, engine: str, images: int) -> tuple[CutPlan, CostInfo]:
    """Predict a task.

    Args:
        source: the network.
        cut: a trainable cut of it.
        engine: ``ort`` or ``torch``.
        images: of the task.

    Returns:
        The prediction and the counts it was made from.
    """
    manifest = cut_manifest(source.graph, cut, source.input_info)
    plan = predict(manifest, engine, images=images)
    phases = plan.phases()
    task, whole = task_multiply_adds(manifest, images)
    return (
        CutPlan(
            extract_bytes=phases["extract"],
            train_bytes=phases["train"],
            peak_bytes=plan.peak_bytes,
            disk_bytes=plan.disk_bytes,
            relative_time=task / whole if whole else 1.0,
        ),
        manifest.cost,
    )
