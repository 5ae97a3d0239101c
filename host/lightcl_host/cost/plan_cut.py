"""What learning after a cut would need on a device, predicted from counts of the graph alone.

The one place where the analysis asks for a prediction; the cost model behind it is :mod:`lightcl_host.cost`.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from lightcl_edge.bundle.graph_names import ACCUMULATE, IN_PLACE
from lightcl_edge.bundle.manifest import (
    CostInfo,
    FeatureInfo,
    GoldenInfo,
    Manifest,
    ModelInfo,
    StepGraph,
    TrainingDefaults,
)
from lightcl_edge.planning import ort as plan_ort
from lightcl_edge.planning import plan as planner
from lightcl_edge.planning import step_choice
from lightcl_edge.planning import torch as plan_torch
from lightcl_edge.planning import trunk as plan_trunk
from lightcl_edge.planning.plan import Plan
from lightcl_host.autodiff.liveness import peak_of
from lightcl_host.autodiff.training_step import MICRO_BATCHES, build_step
from lightcl_host.cost.cut_figures import narrowed
from lightcl_host.cost.prediction import predict, task_multiply_adds
from lightcl_host.cutting.split import Split, split_graph
from lightcl_host.graphs.counts import count_cost
from lightcl_host.graphs.graph import MINIMUM_ONNXRUNTIME, OPSET
from lightcl_host.trunks.golden import GOLDEN_IMAGES

if TYPE_CHECKING:
    from lightcl_host.cutting.cuts import Cut
    from lightcl_host.sources.source import Source

#: Rows of the classifier that a bundle has by default.
CAPACITY = 64
#: Multiples of a micro-batch for which step graphs are built.
_BUILT_PARTS = (1, 3)


@dataclass(frozen=True)
class CutPlan:
    """Predicted cost of one task after a cut.

    Attributes:
        extract_bytes: peak of the whole process while images become features.
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


def plan_cut(source: Source, cut: Cut, engine: str, images: int, trunk_dtype: str) -> tuple[CutPlan, CostInfo]:
    """Predict a task.

    Args:
        source: the network.
        cut: a trainable cut of it.
        engine: ``ort`` or ``torch``.
        images: of the task.
        trunk_dtype: ``fp32``, ``fp16`` or ``int8``.

    Returns:
        The prediction and the counts it was made from.
    """
    defaults = TrainingDefaults()
    split = split_graph(source.graph, cut, CAPACITY, False, 0)
    manifest = Manifest(
        model=ModelInfo(source.name, source.weights, cut.name, trunk_dtype, OPSET, MINIMUM_ONNXRUNTIME),
        input=source.input_info,
        feature=FeatureInfo(list(cut.shape), [1.0], [0]),
        head=split.head_info,
        golden=GoldenInfo(GOLDEN_IMAGES, 1.0, 1.0),
        cost=narrowed(count_cost(split.trunk, split.trunk, split.head, split.head_info.patterns), trunk_dtype),
        defaults=defaults,
        training_step=_steps(split, defaults) if engine == "ort" else [],
    )
    plan = covering_plan(manifest, engine, images)
    task, whole = task_multiply_adds(manifest, images)
    return (
        CutPlan(
            extract_bytes=plan.phases()["extract"],
            train_bytes=plan.phases()["train"],
            peak_bytes=plan.peak_bytes,
            disk_bytes=plan.disk_bytes,
            relative_time=task / whole if whole else 1.0,
        ),
        manifest.cost,
    )


def covering_plan(manifest: Manifest, engine: str, images: int) -> Plan:
    """What the default strategy needs, with LightCL's patterns beside it or without: what fits, fits with each.

    Args:
        manifest: of a cut.
        engine: ``ort`` or ``torch``.
        images: of the task.

    Returns:
        Of both plans the larger figures: without patterns there may be room for a larger step, which the engine takes.
    """
    held = (0, manifest.defaults.buffer_samples)
    plans = [asdict(predict(manifest, engine, buffer_samples=samples, images=images)) for samples in held]
    return Plan(**{name: max(plan[name] for plan in plans) for name in plans[0]})


def plan_revision() -> str:
    """Another text wherever a coefficient of the plan is another, so that finished plans are not taken up wrongly."""
    modules = (planner, plan_trunk, plan_ort, plan_torch, step_choice)
    found = [(module.__name__, name, value) for module in modules for name, value in vars(module).items()]
    numbers = [each for each in found if each[1].isupper() and isinstance(each[2], int | float)]
    return hashlib.sha256(repr(sorted(numbers)).encode()).hexdigest()[:12]


def _steps(split: Split, defaults: TrainingDefaults) -> list[StepGraph]:
    """Records of the step graphs a bundle would carry.

    The smallest accumulating graph is built as a bundle's would be. The larger ones are not, for at early cuts that
    takes minutes: their peaks are extended from graphs of few rows, along which they grow in a straight line. So are
    those of the graphs without patterns.
    """
    sizes = defaults.batch_size, defaults.buffer_samples
    rows, held = (math.ceil(count / max(MICRO_BATCHES)) for count in sizes)
    small, large = (_step_peak(split, rows * parts, held * parts) for parts in _BUILT_PARTS)
    slope = max(0.0, (large - small) / ((_BUILT_PARTS[1] - _BUILT_PARTS[0]) * (rows + held)))
    graphs = []
    for update, parts in ((IN_PLACE, 1), *((ACCUMULATE, parts) for parts in MICRO_BATCHES)):
        new, with_patterns = (math.ceil(count / parts) for count in sizes)
        for old in (with_patterns, 0):
            peak_bytes = max(0, int(small + slope * (new + old - rows - held)))
            graphs.append(StepGraph(f"training_step/{update}_{new}_{old}.onnx", update, new, old, peak_bytes))
    return graphs


def _step_peak(split: Split, samples: int, buffered_samples: int) -> int:
    return peak_of(build_step(split.head, split.head_info, samples, buffered_samples, in_place=False)).bytes
