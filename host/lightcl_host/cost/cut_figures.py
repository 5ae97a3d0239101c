"""The counts of a bundle for a cut, from the graph alone: nothing is calibrated, quantised or written."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from lightcl_edge.bundle.manifest import (
    CostInfo,
    FeatureInfo,
    GoldenInfo,
    InputInfo,
    Manifest,
    ModelInfo,
    TrainingDefaults,
)
from lightcl_host.autodiff.training_step import step_graphs
from lightcl_host.cutting.cuts import Cut
from lightcl_host.cutting.split import Split, split_graph
from lightcl_host.graphs.counts import count_cost
from lightcl_host.graphs.graph import MINIMUM_ONNXRUNTIME, OPSET
from lightcl_host.trunks.golden import GOLDEN_IMAGES

if TYPE_CHECKING:
    import onnx

#: Bytes a trunk weight, and an activation on its way through the trunk, take beside float32.
BYTES_OF_FLOAT = {"fp32": 1.0, "fp16": 0.5, "int8": 0.25}


def cut_manifest(
    graph: onnx.ModelProto,
    cut: Cut,
    input_info: InputInfo,
    *,
    trunk_dtype: str = "fp32",
    batch_size: int | None = None,
    buffer_samples: int | None = None,
    capacity: int = 64,
) -> Manifest:
    """What the manifest of a bundle cut there would say about its cost.

    The counts are those of a real export, except that of an 8-bit or half-precision trunk, whose weights and
    activations are taken as a quarter or a half of the float ones.

    Args:
        graph: the whole network in normal form; not changed.
        cut: a trainable cut of it.
        input_info: of the network's input.
        trunk_dtype: ``fp32``, ``fp16`` or ``int8``.
        batch_size: samples a step; the bundle's default for None.
        buffer_samples: samples with patterns a step; the bundle's default for None.
        capacity: rows of the classifier.

    Returns:
        A manifest without files, classes and scales; for :func:`lightcl_host.cost.prediction.predict`.

    Raises:
        BundleError: when the head can't be trained.
    """
    split = split_graph(graph, cut, capacity, keep_classes=False, seed=0)
    defaults = TrainingDefaults()
    defaults = replace(
        defaults,
        batch_size=defaults.batch_size if batch_size is None else batch_size,
        buffer_samples=defaults.buffer_samples if buffer_samples is None else buffer_samples,
    )
    return split_manifest(split, cut, input_info, trunk_dtype, defaults)


def split_manifest(
    split: Split, cut: Cut, input_info: InputInfo, trunk_dtype: str, defaults: TrainingDefaults
) -> Manifest:
    """The same for a network that has been parted already; see :func:`cut_manifest`."""
    steps = step_graphs(split.head, split.head_info, cut.shape, [defaults.batch_size], defaults.buffer_samples)
    return Manifest(
        model=ModelInfo("", "", cut.name, trunk_dtype, OPSET, MINIMUM_ONNXRUNTIME),
        input=input_info,
        feature=FeatureInfo(list(cut.shape), [1.0], [0]),
        head=split.head_info,
        golden=GoldenInfo(GOLDEN_IMAGES, 1.0, 1.0),
        cost=narrowed(count_cost(split.trunk, split.trunk, split.head, split.head_info.patterns), trunk_dtype),
        defaults=defaults,
        training_step=[record for record, _ in steps],
    )


def narrowed(cost: CostInfo, trunk_dtype: str) -> CostInfo:
    """The counts of a float32 trunk as they are with weights and activations of another type.

    Args:
        cost: with a float32 trunk.
        trunk_dtype: ``fp32``, ``fp16`` or ``int8``.

    Returns:
        The counts.
    """
    share = BYTES_OF_FLOAT[trunk_dtype]
    return replace(
        cost,
        trunk_parameter_bytes=int(share * cost.trunk_parameter_bytes),
        trunk_peak_activation_bytes=int(share * cost.trunk_peak_activation_bytes),
    )
