"""What learning after a cut would need on a device, predicted from counts of the graph alone.

The one place where the analysis asks for a prediction: everything else takes :class:`CutPlan`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lightcl_edge.manifest import (
    CostInfo,
    FeatureInfo,
    GoldenInfo,
    Manifest,
    ModelInfo,
    StepGraph,
    TrainingDefaults,
)
from lightcl_edge.planner import plan_training
from lightcl_host.autodiff.liveness import peak_of
from lightcl_host.graph_cost import count_cost
from lightcl_host.onnx_graph import MINIMUM_ONNXRUNTIME, OPSET
from lightcl_host.split import Split, split_graph
from lightcl_host.training_graph import MICRO_BATCHES, build_step

if TYPE_CHECKING:
    from lightcl_host.graph import Cut
    from lightcl_host.sources import Source

#: The process of ``lightcl-edge train`` before it loads anything (x86-64, Python 3.11, numpy 2.4): its planner measures
#: its own size instead.
BASE_BYTES = 36 * 2**20
#: Rows of the classifier that a bundle has by default.
CAPACITY = 64

#: Multiples of a micro-batch for which step graphs are built.
_BUILT_PARTS = (1, 3)


@dataclass(frozen=True)
class CutPlan:
    """Predicted cost of one task after a cut.

    Attributes:
        extract_bytes: peak of the whole process while images become features, with a float32 trunk.
        train_bytes: peak of the whole process while the head is trained.
        disk_bytes: feature store, checkpoint and one generation.
        relative_time: multiply-adds of the task over those of training the whole network for as many epochs.
    """

    extract_bytes: int
    train_bytes: int
    disk_bytes: int
    relative_time: float

    @property
    def peak_bytes(self) -> int:
        """The larger phase."""
        return max(self.extract_bytes, self.train_bytes)


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
    defaults = TrainingDefaults()
    split = split_graph(source.graph, cut, CAPACITY, False, 0)
    cost = count_cost(split.trunk, split.trunk, split.head, split.head_info.patterns)
    manifest = Manifest(
        model=ModelInfo(source.name, source.weights, cut.name, "fp32", OPSET, MINIMUM_ONNXRUNTIME),
        input=source.input_info,
        feature=FeatureInfo(list(cut.shape), [1.0], [0]),
        head=split.head_info,
        golden=GoldenInfo(0, 0.0, 0.0),
        cost=cost,
        defaults=defaults,
        training_step=_steps(split, defaults),
    )
    plan = plan_training(manifest, engine, defaults.batch_size, defaults.buffer_samples, images)
    return (
        CutPlan(
            extract_bytes=BASE_BYTES + plan.extract_bytes,
            train_bytes=BASE_BYTES + plan.train_bytes,
            disk_bytes=plan.disk_bytes,
            relative_time=relative_time(cost.trunk_multiply_adds, cost.head_multiply_adds, defaults.epochs),
        ),
        cost,
    )


def relative_time(trunk_multiply_adds: int, head_multiply_adds: int, epochs: int) -> float:
    """Work of a task over that of training the whole network for as many epochs.

    The trunk runs once an image, the head forwards and backwards in each epoch; a backward pass is counted as two
    forward ones.
    """
    task = trunk_multiply_adds + 3 * epochs * head_multiply_adds
    whole = 3 * epochs * (trunk_multiply_adds + head_multiply_adds)
    return task / whole if whole else 1.0


def _steps(split: Split, defaults: TrainingDefaults) -> list[StepGraph]:
    """Records of the step graphs a bundle would carry.

    The accumulating graph is built as a bundle's would be. The large one in place is not, for at early cuts that takes
    minutes: its peak is extended from graphs of few rows, along which it grows in a straight line.
    """
    rows, held = (math.ceil(count / MICRO_BATCHES) for count in (defaults.batch_size, defaults.buffer_samples))
    small, large = ((parts, _step_peak(split, rows * parts, held * parts)) for parts in _BUILT_PARTS)
    slope = max(0.0, (large[1] - small[1]) / ((large[0] - small[0]) * (rows + held)))
    whole = defaults.batch_size + defaults.buffer_samples
    in_place = small[1] + slope * (whole - rows - held)
    return [
        StepGraph("training_step/accumulate.onnx", "accumulate", rows, held, small[1]),
        StepGraph(
            "training_step/in_place.onnx", "in_place", defaults.batch_size, defaults.buffer_samples, int(in_place)
        ),
    ]


def _step_peak(split: Split, samples: int, buffered_samples: int) -> int:
    return peak_of(build_step(split.head, split.head_info, samples, buffered_samples, in_place=False)).bytes
