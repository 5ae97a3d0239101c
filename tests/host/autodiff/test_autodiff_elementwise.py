"""Gradients of activations and of broadcast arithmetic."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from autodiff_check import check_rule, node, normal
from lightcl_edge.errors import BundleError

#: Values at the kinks of every function, and between them.
GRID = np.array([-7, -6, -3, -2.5, -1, -0.5, 0, 0.25, 1, 2.9, 3, 5, 6, 6.5], np.float32)

FUNCTIONS: dict[str, tuple[str, dict[str, float], Callable[[torch.Tensor], torch.Tensor]]] = {
    "relu": ("Relu", {}, functional.relu),
    "hardswish": ("HardSwish", {}, functional.hardswish),
    "hardsigmoid": ("HardSigmoid", {"alpha": 1 / 6, "beta": 0.5}, functional.hardsigmoid),
    "sigmoid": ("Sigmoid", {}, torch.sigmoid),
    "identity": ("Identity", {}, lambda x: x * 1),
    "dropout": ("Dropout", {}, lambda x: x * 1),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_activation(name: str) -> None:
    kind, attributes, reference = FUNCTIONS[name]
    inputs = {"x": np.concatenate([GRID, normal(0, 50) * 3])[None]}
    check_rule([node(kind, ["x"], **attributes)], inputs, reference, tolerance=1e-5)


@pytest.mark.parametrize(("low", "high"), [(0.0, 6.0), (-1.0, 1.0), (None, 1.0), (-2.5, None), (None, None)])
def test_clip(low: float | None, high: float | None) -> None:
    """At a bound itself the gradient is 0, as PyTorch's ReLU6 has it."""
    bounds = {"low": low, "high": high}
    constants = {name: np.float32(value) for name, value in bounds.items() if value is not None}
    names = ["x", *(name if name in constants else "" for name in bounds)]
    clip = node("Clip", names)
    limits = (-1e9 if low is None else low, 1e9 if high is None else high)
    check_rule([clip], {"x": GRID[None]}, lambda x: functional.hardtanh(x, *limits), constants=constants)


@pytest.mark.parametrize("name", [name for name in FUNCTIONS if name != "dropout"])
@pytest.mark.parametrize("pool", ["GlobalAveragePool", "ReduceMean"])
def test_activation_below_a_mean(name: str, pool: str) -> None:
    """The gradient of a mean reaches the activation without being spread out first."""
    kind, attributes, reference = FUNCTIONS[name]
    names, constants = (["a"], {}) if pool == "GlobalAveragePool" else (["a", "axes"], {"axes": np.array([-1, 2])})
    nodes = [node(kind, ["x"], "a", **attributes), node(pool, names)]
    inputs = {"x": normal(1, 2, 3, 4, 5) * 3}
    check_rule(nodes, inputs, lambda x: reference(x).mean((2, 3), keepdim=True), constants=constants)


@st.composite
def broadcast_pairs(draw: st.DrawFn) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Two shapes that broadcast together."""
    full = draw(st.lists(st.integers(1, 4), min_size=1, max_size=4))
    shapes = []
    for _ in range(2):
        kept = [side if draw(st.booleans()) else 1 for side in full]
        shapes.append(tuple(kept[draw(st.integers(0, len(full) - 1)) :]))
    return shapes[0], shapes[1]


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(["Add", "Sub", "Mul"]), broadcast_pairs())
def test_arithmetic(kind: str, shapes: tuple[tuple[int, ...], tuple[int, ...]]) -> None:
    references = {"Add": torch.add, "Sub": torch.sub, "Mul": torch.mul}
    inputs = {"a": normal(1, *shapes[0]), "b": normal(2, *shapes[1])}
    check_rule([node(kind, ["a", "b"])], inputs, references[kind])


@pytest.mark.parametrize("kind", ["Add", "Sub", "Mul"])
def test_arithmetic_below_a_mean(kind: str) -> None:
    """Broadcast gradients through sums, also where a summand was itself broadcast."""
    references = {"Add": torch.add, "Sub": torch.sub, "Mul": torch.mul}
    inputs = {"a": normal(1, 2, 3, 4, 5), "b": normal(2, 2, 3, 4, 5), "c": normal(3, 3, 1, 1)}
    nodes = [node(kind, ["a", "b"], "s"), node(kind, ["s", "c"], "t"), node("GlobalAveragePool", ["t"])]

    def reference(a: torch.Tensor, b: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
        return references[kind](references[kind](a, b), c).mean((2, 3), keepdim=True)

    check_rule(nodes, inputs, reference)


def test_squeeze_and_excite() -> None:
    """An activation that is used twice, once through a gate of its own mean."""
    inputs = {"x": normal(1, 2, 4, 5, 5), "w": normal(2, 4, 4, 1, 1), "b": normal(3, 4)}
    nodes = [
        node("HardSwish", ["x"], "a"),
        node("GlobalAveragePool", ["a"], "m"),
        node("Conv", ["m", "w", "b"], "c"),
        node("HardSigmoid", ["c"], "g", alpha=1 / 6, beta=0.5),
        node("Mul", ["g", "a"]),
    ]

    def reference(x: torch.Tensor, w: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        a = functional.hardswish(x)
        return functional.hardsigmoid(functional.conv2d(a.mean((2, 3), keepdim=True), w, b)) * a

    check_rule(nodes, inputs, reference)


def test_one_tensor_in_both_places() -> None:
    """``x + x`` and ``x * x`` add both gradients; SiLU is ``x * sigmoid(x)``."""
    inputs = {"x": normal(1, 3, 4)}
    through = [node("Identity", ["x"], "a")]
    check_rule([*through, node("Add", ["a", "a"])], inputs, lambda x: x + x)
    check_rule([*through, node("Mul", ["a", "a"])], inputs, lambda x: x * x)
    silu = [*through, node("Sigmoid", ["a"], "s"), node("Mul", ["a", "s"])]
    check_rule(silu, inputs, functional.silu)


def test_operator_outside_the_list() -> None:
    with pytest.raises(BundleError, match=r"operator Sin \(output 'y'\) can't be trained through; expected one of"):
        check_rule([node("Sin", ["x"])], {"x": normal(1, 2, 3)}, torch.sin)


def test_tied_parameter() -> None:
    with pytest.raises(BundleError, match=r"2 operators on the way to logits read 'x', expected 1"):
        check_rule([node("Mul", ["x", "x"])], {"x": normal(1, 2, 3)}, lambda x: x * x)
