"""What one task would need on a device after a cut: memory, disk and time."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from lightcl_edge.bundle.manifest import CostInfo, Manifest
from lightcl_edge.planning import ort as plan_ort
from lightcl_edge.planning import plan as planner
from lightcl_edge.planning import step_choice
from lightcl_edge.planning import torch as plan_torch
from lightcl_edge.planning import trunk as plan_trunk
from lightcl_edge.planning.plan import Plan
from lightcl_host.cost.cut_manifest import cut_manifest
from lightcl_host.cost.prediction import predict, task_multiply_adds

if TYPE_CHECKING:
    from lightcl_host.cutting.cuts import Cut
    from lightcl_host.sources.source import Source


@dataclass(frozen=True)
class CutPlan:
    """Predicted cost of one task after a cut.

    Peaks are those of the whole process. The disk holds the feature store, the checkpoint and one generation. The time
    is the multiply-adds over those of training the whole network for as many epochs.
    """

    extract_bytes: int
    train_bytes: int
    peak_bytes: int
    disk_bytes: int
    relative_time: float


def plan_cut(source: Source, cut: Cut, engine: str, images: int, trunk_dtype: str) -> tuple[CutPlan, CostInfo]:
    """Predict a task of so many images after a trainable cut; returns the counts that it follows from too."""
    manifest = cut_manifest(source.graph, cut, source.input_info, trunk_dtype=trunk_dtype, engine=engine)
    plan = covering_plan(manifest, engine, images)
    phases = plan.phases()
    task, whole = task_multiply_adds(manifest, images)
    relative_time = task / whole if whole else 1.0
    return CutPlan(phases["extract"], phases["train"], plan.peak_bytes, plan.disk_bytes, relative_time), manifest.cost


def covering_plan(manifest: Manifest, engine: str, images: int) -> Plan:
    """What every strategy can do with: the larger figures of training with and without patterns, and without steps.

    Without patterns the engine may take a larger step, so that each figure can be the larger one in either plan.
    """
    held = (0, manifest.defaults.buffer_samples)
    found = [predict(manifest, engine, buffer_samples=samples, images=images) for samples in held]
    plans = [asdict(plan) for plan in [*found, predict(manifest, engine, images=images, strategy="slda")]]
    return Plan(**{name: max(plan[name] for plan in plans) for name in plans[0]})


def plan_revision() -> str:
    """Another text for other coefficients of the plan, so that finished plans made with old ones are not reused."""
    modules = (planner, plan_trunk, plan_ort, plan_torch, step_choice)
    found = [(module.__name__, name, value) for module in modules for name, value in vars(module).items()]
    numbers = [each for each in found if each[1].isupper() and isinstance(each[2], int | float)]
    return hashlib.sha256(repr(sorted(numbers)).encode()).hexdigest()[:12]
