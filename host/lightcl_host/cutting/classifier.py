"""The head's last layer: rows for the device's classes replace the network's own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lightcl_edge.bundle.graph_names import BIAS, FEATURES, PENULTIMATE, TAPS, WEIGHT
from lightcl_edge.errors import UsageError
from lightcl_edge.files.tensors import FloatArray
from lightcl_host.graphs.graph import (
    BATCH,
    drop_unused,
    integer_attribute,
    rename_tensors,
    replace_all,
    to_array,
    to_tensor,
)

if TYPE_CHECKING:
    import onnx


#: Deviation of rows that no class has yet. The device masks them and starts a new class from its features' mean.
UNUSED_ROW_DEVIATION = 0.01


@dataclass(frozen=True)
class Classifier:
    """A linear layer: ``logits = penultimate @ weight.T + bias``."""

    weight: FloatArray  # shape ``(classes, width)``
    bias: FloatArray  # shape ``(classes,)``

    def logits(self, penultimate: FloatArray) -> FloatArray:
        """Logits of inputs of shape ``(n, width)``."""
        return np.asarray(penultimate @ self.weight.T + self.bias, np.float32)


def install_classifier(head: onnx.ModelProto, capacity: int, keep_classes: bool, seed: int) -> Classifier:
    """Replace the head's classifier by one with a fixed number of rows, whose input is named ``penultimate``.

    Args:
        head: ends in a ``Gemm`` with constant weights; changed in place.

    Raises:
        UsageError: when the rows to keep are more than the capacity.
    """
    import onnx

    graph = head.graph
    original = _read(graph)
    weight, bias = _shipped(original, capacity, keep_classes, seed)
    node = graph.node[-1]
    # free the names of the format where the network uses them itself
    rename_tensors(graph, {name: f"inner_{name}" for name in (WEIGHT, BIAS, PENULTIMATE, TAPS)})
    replace_all(node.attribute, [onnx.helper.make_attribute("transB", 1)])
    source = node.input[0]
    replace_all(node.input, [PENULTIMATE, WEIGHT, BIAS])
    graph.initializer.extend([to_tensor(weight, WEIGHT), to_tensor(bias, BIAS)])
    if source == FEATURES:  # the classifier works on the features themselves, which need a second name as an output
        identity = onnx.helper.make_node("Identity", [FEATURES], [PENULTIMATE])
        replace_all(graph.node, [identity, *graph.node])
    else:
        rename_tensors(graph, {source: PENULTIMATE})
    drop_unused(graph)
    shape = graph.output[0].type.tensor_type.shape
    del shape.dim[:]
    shape.dim.add().dim_param = BATCH
    shape.dim.add().dim_value = capacity
    return original


def _read(graph: onnx.GraphProto) -> Classifier:
    node = graph.node[-1]
    weights = {tensor.name: tensor for tensor in graph.initializer}
    factors = {entry.name: entry.f for entry in node.attribute}
    weight = to_array(weights[node.input[1]]).astype(np.float32) * np.float32(factors.get("alpha", 1.0))
    if not integer_attribute(node, "transB", 0):
        weight = weight.T
    bias = np.zeros(len(weight), np.float32)
    if len(node.input) > 2 and node.input[2]:
        constant = to_array(weights[node.input[2]]).astype(np.float32) * np.float32(factors.get("beta", 1.0))
        bias = np.broadcast_to(constant.reshape(-1), bias.shape).copy()
    return Classifier(np.ascontiguousarray(weight), bias)


def _shipped(original: Classifier, capacity: int, keep: bool, seed: int) -> tuple[FloatArray, FloatArray]:
    classes, width = original.weight.shape
    generator = np.random.default_rng(seed)
    weight = generator.normal(0.0, UNUSED_ROW_DEVIATION, (capacity, width)).astype(np.float32)
    bias = np.zeros(capacity, np.float32)
    if keep:
        if classes > capacity:
            raise UsageError(
                f"the network has {classes} classes, found room for {capacity}; give --max-classes {classes}"
            )
        weight[:classes], bias[:classes] = original.weight, original.bias
    return weight, bias
