"""The manifest that a bundle would have for a cut, from the graph alone: nothing is quantised or written."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from lightcl_edge.bundle.graph_names import ACCUMULATE, IN_PLACE
from lightcl_edge.bundle.manifest import (
    CostInfo,
    FeatureInfo,
    GoldenInfo,
    InputInfo,
    Manifest,
    ModelInfo,
    StepGraph,
    TrainingDefaults,
)
from lightcl_host.autodiff.liveness import peak_bytes
from lightcl_host.autodiff.training_step import MICRO_BATCHES, build_step
from lightcl_host.cutting.split import Split, split_graph
from lightcl_host.graphs.counts import count_cost, has_tokens
from lightcl_host.graphs.graph import MINIMUM_ONNXRUNTIME, OPSET
from lightcl_host.trunks.golden import GOLDEN_IMAGES

if TYPE_CHECKING:
    import onnx

    from lightcl_host.cutting.cuts import Cut

#: What a trunk's weight or activation takes, relative to float32.
BYTES_OF_FLOAT = {"fp32": 1.0, "fp16": 0.5, "int8": 0.25}
#: Rows of the classifier that a bundle has by default.
_CAPACITY = 64
#: Multiples of a micro-batch for which step graphs are built.
_BUILT_PARTS = (1, 3)


def cut_manifest(
    graph: onnx.ModelProto,
    cut: Cut,
    input_info: InputInfo,
    *,
    trunk_dtype: str = "fp32",
    engine: str = "ort",
    defaults: TrainingDefaults | None = None,
) -> Manifest:
    """What the manifest of a bundle would say about its cost, for :func:`lightcl_host.cost.prediction.predict`.

    The counts are those of a real export. Two are estimates: the weights and activations of an fp16 or int8 trunk, and
    the peaks of the larger step graphs.
    """
    settings = defaults or TrainingDefaults()
    split = split_graph(graph, cut, _CAPACITY, keep_classes=False, seed=0)
    cost = count_cost(split.trunk, split.trunk, split.head, split.head_info.patterns)
    return Manifest(
        model=ModelInfo("", "", cut.name, trunk_dtype, OPSET, MINIMUM_ONNXRUNTIME),
        input=input_info,
        feature=FeatureInfo(list(cut.shape), [1.0], [0]),
        head=split.head_info,
        golden=GoldenInfo(GOLDEN_IMAGES, 1.0, 1.0),
        cost=_with_trunk_type(cost, trunk_dtype, has_tokens(split.trunk)),
        defaults=settings,
        training_step=_step_graphs(split, settings) if engine == "ort" else [],
    )


def _with_trunk_type(cost: CostInfo, trunk_dtype: str, tokens: bool) -> CostInfo:
    share = BYTES_OF_FLOAT[trunk_dtype]
    activations = cost.trunk_peak_activation_bytes
    return replace(
        cost,
        trunk_parameter_bytes=int(share * cost.trunk_parameter_bytes),
        trunk_peak_activation_bytes=activations if tokens else int(share * activations),
    )


def _step_graphs(split: Split, defaults: TrainingDefaults) -> list[StepGraph]:
    """The step graphs that a bundle would carry, with their peaks.

    At early cuts it takes minutes to build the large graphs. So only two small ones are built, and all peaks follow
    from them: a peak grows in a straight line with the rows.
    """
    sizes = defaults.batch_size, defaults.buffer_samples
    rows, held = (math.ceil(count / max(MICRO_BATCHES)) for count in sizes)
    small, large = (_step_peak(split, rows * parts, held * parts) for parts in _BUILT_PARTS)
    slope = max(0.0, (large - small) / ((_BUILT_PARTS[1] - _BUILT_PARTS[0]) * (rows + held)))
    graphs = []
    for update, parts in ((IN_PLACE, 1), *((ACCUMULATE, parts) for parts in MICRO_BATCHES)):
        new, with_patterns = (math.ceil(count / parts) for count in sizes)
        for old in (with_patterns, 0):
            peak = max(0, int(small + slope * (new + old - rows - held)))
            graphs.append(StepGraph(f"training_step/{update}_{new}_{old}.onnx", update, new, old, peak))
    return graphs


def _step_peak(split: Split, samples: int, buffered_samples: int) -> int:
    return peak_bytes(build_step(split.head, split.head_info, samples, buffered_samples, in_place=False))
