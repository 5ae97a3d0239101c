"""Gradients of normalisations, softmax and reductions."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from autodiff_check import check_rule, node, normal

SHAPE = (3, 4, 5, 2)
X = normal(1, *SHAPE) * 2 + 0.5


@pytest.mark.parametrize("axis", [-1, 2, 1])
@pytest.mark.parametrize("wanted", [["x", "scale", "bias"], ["x"], ["scale"], ["bias"]])
def test_layer_normalization(axis: int, wanted: list[str]) -> None:
    sides = SHAPE[axis % 4 :]
    inputs = {"x": X, "scale": normal(2, *sides), "bias": normal(3, *sides)}
    layer = node("LayerNormalization", list(inputs), axis=axis, epsilon=1e-3)
    check_rule([layer], inputs, lambda x, s, b: functional.layer_norm(x, sides, s, b, 1e-3), wanted=wanted)


def test_layer_normalization_without_a_bias() -> None:
    inputs = {"x": X, "scale": normal(2, 2)}
    layer = node("LayerNormalization", list(inputs))
    check_rule([layer], inputs, lambda x, s: functional.layer_norm(x, (2,), s))


def test_layer_normalization_in_parts() -> None:
    """As exporters of older opsets write it."""
    inputs = {"x": X, "scale": normal(2, 2), "bias": normal(3, 2)}
    nodes = [
        node("Identity", ["x"], "i"),
        node("ReduceMean", ["i", "axes"], "m"),
        node("Sub", ["i", "m"], "d"),
        node("Pow", ["d", "two"], "q"),
        node("ReduceMean", ["q", "axes"], "v"),
        node("Add", ["v", "epsilon"], "e"),
        node("Sqrt", ["e"], "s"),
        node("Div", ["d", "s"], "n"),
        node("Mul", ["n", "scale"], "w"),
        node("Add", ["w", "bias"]),
    ]
    constants = {"axes": np.array([-1], np.int64), "two": np.float32(2), "epsilon": np.float32(1e-5)}
    check_rule(nodes, inputs, lambda x, s, b: functional.layer_norm(x, (2,), s, b), constants=constants)


def test_rms_normalization() -> None:
    inputs = {"x": X, "scale": normal(2, 2)}
    layer = node("RMSNormalization", list(inputs), epsilon=1e-3)
    check_rule([layer], inputs, lambda x, s: functional.rms_norm(x, (2,), s, 1e-3), opset=23)


def test_rms_normalization_in_parts() -> None:
    inputs = {"x": X, "scale": normal(2, 2)}
    nodes = [
        node("Identity", ["x"], "i"),
        node("Mul", ["i", "i"], "q"),
        node("ReduceMean", ["q", "axes"], "v"),
        node("Add", ["v", "epsilon"], "e"),
        node("Sqrt", ["e"], "s"),
        node("Reciprocal", ["s"], "r"),
        node("Mul", ["i", "r"], "n"),
        node("Mul", ["n", "scale"]),
    ]
    constants = {"axes": np.array([-1], np.int64), "epsilon": np.float32(1e-3)}
    check_rule(nodes, inputs, lambda x, s: functional.rms_norm(x, (2,), s, 1e-3), constants=constants)


@pytest.mark.parametrize("wanted", [["x", "scale", "bias"], ["x"], ["scale"]])
def test_instance_normalization(wanted: list[str]) -> None:
    inputs = {"x": X, "scale": normal(2, 4), "bias": normal(3, 4)}
    layer = node("InstanceNormalization", list(inputs), epsilon=1e-3)

    def reference(x: torch.Tensor, scale: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        return functional.instance_norm(x, weight=scale, bias=bias, eps=1e-3)

    check_rule([layer], inputs, reference, wanted=wanted)


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_group_normalization(groups: int) -> None:
    inputs = {"x": X, "scale": normal(2, 4), "bias": normal(3, 4)}
    layer = node("GroupNormalization", list(inputs), epsilon=1e-3, num_groups=groups)
    check_rule([layer], inputs, lambda x, s, b: functional.group_norm(x, groups, s, b, 1e-3), opset=21)


@pytest.mark.parametrize("axis", [-1, 1, 2])
@pytest.mark.parametrize(("kind", "reference"), [("Softmax", torch.softmax), ("LogSoftmax", torch.log_softmax)])
def test_softmax(kind: str, reference: Callable[..., torch.Tensor], axis: int) -> None:
    check_rule([node(kind, ["x"], axis=axis)], {"x": X}, lambda x: reference(x, axis))


REDUCTIONS: dict[str, Callable[..., torch.Tensor]] = {
    "ReduceL2": lambda x, axes, keep: torch.linalg.vector_norm(x, dim=axes, keepdim=keep),
    "ReduceMax": lambda x, axes, keep: x.amax(axes, keep),
    "ReduceMean": lambda x, axes, keep: x.mean(axes, keep),
    "ReduceMin": lambda x, axes, keep: x.amin(axes, keep),
    "ReduceSum": lambda x, axes, keep: x.sum(axes, keep),
    "ReduceSumSquare": lambda x, axes, keep: (x * x).sum(axes, keep),
}


@settings(max_examples=20, deadline=None)
@given(
    st.sampled_from(sorted(REDUCTIONS)),
    st.lists(st.integers(-4, 3), min_size=1, max_size=3, unique_by=lambda axis: axis % 4),
    st.booleans(),
)
def test_reductions(kind: str, axes: list[int], keep: bool) -> None:
    nodes = [node(kind, ["x", "axes"], keepdims=int(keep))]
    constants = {"axes": np.array(axes, np.int64)}
    check_rule(nodes, {"x": X}, lambda x: REDUCTIONS[kind](x, axes, keep), constants=constants)


@pytest.mark.parametrize("kind", ["ReduceSum", "ReduceMean"])
def test_reduction_over_no_axes(kind: str) -> None:
    """Without axes it reduces over all, or does nothing where the node says so."""
    check_rule([node(kind, ["x"], keepdims=0)], {"x": X}, lambda x: REDUCTIONS[kind](x, [0, 1, 2, 3], False))
    check_rule([node(kind, ["x"], noop_with_empty_axes=1)], {"x": X}, lambda x: x * 1)


def test_equal_largest_values_share_the_gradient() -> None:
    values = np.array([[1.0, 3.0, 3.0], [2.0, 0.0, 1.0]], np.float32)
    constants = {"axes": np.array([1], np.int64)}
    check_rule([node("ReduceMax", ["x", "axes"])], {"x": values}, lambda x: x.amax(1, True), constants=constants)


def test_length_of_nothing() -> None:
    """PyTorch gives the gradient 0 there."""
    values = np.array([[0.0, 0.0, 0.0], [2.0, 0.0, 1.0]], np.float32)
    constants = {"axes": np.array([1], np.int64)}
    length = REDUCTIONS["ReduceL2"]
    check_rule([node("ReduceL2", ["x", "axes"])], {"x": values}, lambda x: length(x, [1], True), constants=constants)


@pytest.mark.parametrize("kind", ["GlobalAveragePool", "GlobalMaxPool"])
def test_global_pooling(kind: str) -> None:
    reference = torch.Tensor.mean if kind == "GlobalAveragePool" else torch.amax
    check_rule([node(kind, ["x"])], {"x": X}, lambda x: reference(x, (2, 3), True))


def test_global_response_normalization() -> None:
    """ConvNeXt v2: ``x + bias + scale x n`` with ``n`` the length over space by its mean over channels."""
    inputs = {"x": X, "scale": normal(2, 2), "bias": normal(3, 2)}
    nodes = [
        node("Identity", ["x"], "i"),
        node("ReduceL2", ["i", "space"], "l"),
        node("ReduceMean", ["l", "channels"], "m"),
        node("Add", ["m", "epsilon"], "e"),
        node("Div", ["l", "e"], "n"),
        node("Mul", ["i", "n"], "r"),
        node("Mul", ["r", "scale"], "s"),
        node("Add", ["s", "bias"], "b"),
        node("Add", ["i", "b"]),
    ]
    constants = {
        "space": np.array([1, 2], np.int64),
        "channels": np.array([-1], np.int64),
        "epsilon": np.float32(1e-6),
    }

    def reference(x: torch.Tensor, scale: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        length = x.norm(p=2, dim=(1, 2), keepdim=True)
        return x + bias + scale * x * length / (length.mean(-1, keepdim=True) + 1e-6)

    check_rule(nodes, inputs, reference, constants=constants)
