"""Costs are counted from the graph, and results compared."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from lightcl_host.cutting.cuts import choose_by_name, find_cuts
from lightcl_host.cutting.split import split_graph
from lightcl_host.graphs.counts import count_cost, multiply_adds, peak_activation_bytes
from lightcl_host.graphs.runner import relative_difference


@pytest.mark.parametrize("bad", [np.full((1, 2), np.nan, np.float32), np.zeros((1, 3), np.float32)])
def test_nan_and_other_shapes_differ_infinitely(bad: np.ndarray) -> None:
    assert relative_difference(bad, np.ones((1, 2), np.float32)) == np.inf


def test_costs_are_counted_from_the_graph(residual: onnx.ModelProto) -> None:
    parts = split_graph(residual, choose_by_name(find_cuts(residual), "stage2.0"), 7, keep_classes=False, seed=0)
    cost = count_cost(parts.trunk, parts.trunk, parts.head, parts.head_info.patterns)
    convolutions = 8 * 64 * 27 + 4 * (8 * 64 * 72) + 16 * 16 * 72 + 2 * (16 * 16 * 144)
    assert multiply_adds(parts.trunk) == cost.trunk_multiply_adds == convolutions
    assert cost.head_multiply_adds == 2 * (16 * 16 * 144) + 7 * 16
    assert cost.head_parameter_bytes == pytest.approx(4 * (2 * (16 * 16 * 9 + 16) + 7 * 16 + 7), abs=64)
    assert cost.head_largest_activation_bytes == 4 * 16 * 16
    # a block of the first stage: its input, a convolution's input and that convolution's output, 8 x 8 x 8 each;
    # the image and the stem's output are smaller together
    assert peak_activation_bytes(parts.trunk) == cost.trunk_peak_activation_bytes == 3 * 4 * 512


def test_a_network_of_tokens_holds_more_than_is_alive() -> None:
    """Four tokens of three numbers through a Softmax: both tensors are alive, and onnxruntime holds 3.4 times that."""
    node = onnx.helper.make_node("Softmax", ["x"], ["y"])
    shape = onnx.TensorProto.FLOAT, ["batch", 4, 3]
    values = [onnx.helper.make_tensor_value_info(name, *shape) for name in ("x", "y")]
    model = onnx.helper.make_model(onnx.helper.make_graph([node], "tokens", values[:1], values[1:]))
    assert peak_activation_bytes(model) == int(3.4 * 2 * 4 * 12)
