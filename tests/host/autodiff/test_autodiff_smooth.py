"""Gradients of smooth functions of one tensor, of quotients, powers, choices and comparisons."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch.nn import functional

from autodiff_check import check_rule, node, normal
from lightcl_edge.errors import BundleError

Function = Callable[[torch.Tensor], torch.Tensor]
X = normal(1, 3, 4, 5) * 2
#: Away from 0, where logarithms and roots are steep.
POSITIVE = np.abs(X) + 0.2

ONE_TENSOR: dict[str, tuple[dict[str, object], np.ndarray, Function]] = {
    "Abs": ({}, X, torch.abs),
    "Elu": ({}, X, functional.elu),
    "Erf": ({}, X, torch.erf),
    "Exp": ({}, X, torch.exp),
    "Gelu": ({}, X, functional.gelu),
    "LeakyRelu": ({"alpha": 0.2}, X, lambda x: functional.leaky_relu(x, 0.2)),
    "Log": ({}, POSITIVE, torch.log),
    "Mish": ({}, X, functional.mish),
    "Neg": ({}, X, torch.neg),
    "Reciprocal": ({}, POSITIVE, torch.reciprocal),
    "Sigmoid": ({}, X, torch.sigmoid),
    "Softplus": ({}, X, functional.softplus),
    "Sqrt": ({}, POSITIVE, torch.sqrt),
    "Tanh": ({}, X, torch.tanh),
}


@pytest.mark.parametrize("kind", ONE_TENSOR)
def test_one_tensor(kind: str) -> None:
    attributes, values, reference = ONE_TENSOR[kind]
    check_rule([node(kind, ["x"], **attributes)], {"x": values}, reference)


def test_gelu_by_tanh() -> None:
    gelu = node("Gelu", ["x"], approximate="tanh")
    check_rule([gelu], {"x": X}, lambda x: functional.gelu(x, approximate="tanh"))


def test_elu_of_another_height() -> None:
    check_rule([node("Elu", ["x"], alpha=0.5)], {"x": X}, lambda x: functional.elu(x, 0.5))


@pytest.mark.parametrize("kind", ["Exp", "Tanh", "Sigmoid", "Gelu", "LeakyRelu", "Sqrt", "Neg"])
def test_below_a_mean(kind: str) -> None:
    """The gradient of a mean has side 1 where it was taken: it must come out whole."""
    attributes, values, reference = ONE_TENSOR[kind]
    nodes = [node(kind, ["x"], "f", **attributes), node("ReduceMean", ["f", "axes"], keepdims=1)]
    axes = {"axes": np.array([1], np.int64)}
    check_rule(nodes, {"x": values}, lambda x: reference(x).mean(1, keepdim=True), constants=axes)


def test_leaky_slope_below_zero() -> None:
    with pytest.raises(BundleError, match=r"operator LeakyRelu \(output 'y'\) has the slope -0.1, expected at least 0"):
        check_rule([node("LeakyRelu", ["x"], alpha=-0.1)], {"x": X}, torch.relu)


def test_leaky_relu_at_zero() -> None:
    values = {"x": np.array([[-1.0, 0.0, 1.0]], np.float32)}
    check_rule([node("LeakyRelu", ["x"], alpha=0.25)], values, lambda x: functional.leaky_relu(x, 0.25))


@pytest.mark.parametrize("exponent", [2.0, 3.0, 0.5, -1.0, 1.0])
def test_power(exponent: float) -> None:
    constants = {"e": np.float32(exponent)}
    check_rule([node("Pow", ["x", "e"])], {"x": POSITIVE}, lambda x: x**exponent, constants=constants)


def test_power_with_a_trained_exponent() -> None:
    with pytest.raises(BundleError, match=r"operator Pow \(output 'y'\) has an exponent that is computed"):
        check_rule([node("Pow", ["x", "e"])], {"x": POSITIVE, "e": POSITIVE}, torch.pow)


@pytest.mark.parametrize("shape", [(3, 4, 5), (1,), (5,), (4, 1), (3, 1, 1)])
def test_quotient(shape: tuple[int, ...]) -> None:
    inputs = {"a": X, "b": np.abs(normal(2, *shape)) + 0.5}
    check_rule([node("Div", ["a", "b"])], inputs, torch.div)
    check_rule([node("Div", ["a", "b"])], inputs, torch.div, wanted=["b"])
    check_rule([node("Div", ["a", "b"])], inputs, torch.div, wanted=["a"])


@pytest.mark.parametrize("shape", [(1,), (4, 1, 1), (1, 4, 1, 1)])
def test_prelu(shape: tuple[int, ...]) -> None:
    inputs = {"x": normal(1, 2, 4, 3, 3), "slope": np.abs(normal(2, *shape))}

    def reference(x: torch.Tensor, slope: torch.Tensor) -> torch.Tensor:
        return functional.prelu(x, slope.reshape(-1))

    check_rule([node("PRelu", ["x", "slope"])], inputs, reference)


@pytest.mark.parametrize("shape", [(3, 4, 5), (4, 1), (1,)])
def test_where_with_a_constant_mask(shape: tuple[int, ...]) -> None:
    mask = normal(5, 4, 5) > 0
    inputs = {"x": X, "z": normal(2, *shape)}
    where = node("Where", ["mask", "x", "z"])
    check_rule([where], inputs, lambda x, z: torch.where(torch.from_numpy(mask), x, z), constants={"mask": mask})


def test_where_chosen_by_the_values() -> None:
    """No gradient passes a comparison."""
    nodes = [node("Identity", ["x"], "i"), node("Greater", ["i", "zero"], "p"), node("Exp", ["i"], "e")]
    nodes.append(node("Where", ["p", "i", "e"]))
    constants = {"zero": np.float32(0)}
    check_rule(nodes, {"x": X}, lambda x: torch.where(x > 0, x, torch.exp(x)), constants=constants)


@pytest.mark.parametrize(("kind", "reference"), [("Max", torch.maximum), ("Min", torch.minimum)])
def test_larger_and_smaller(kind: str, reference: Callable[..., torch.Tensor]) -> None:
    inputs = {"a": X, "b": normal(2, 4, 1)}
    check_rule([node(kind, ["a", "b"])], inputs, reference)


def test_more_than_two_to_compare() -> None:
    inputs = {"a": X, "b": X + 1, "c": X + 2}
    with pytest.raises(BundleError, match=r"operator Max \(output 'y'\) compares 3 tensors, expected 2"):
        check_rule([node("Max", list(inputs))], inputs, lambda a, b, c: c)
