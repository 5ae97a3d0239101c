"""Gradients of operators that move, cut and join values."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from autodiff_check import check_rule, node, normal
from lightcl_edge.errors import BundleError

X = {"x": normal(1, 2, 6, 4, 5)}


def ints(*values: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return np.array(values, np.int64)


@pytest.mark.parametrize(
    ("kind", "constants", "attributes", "shape"),
    [
        ("Reshape", {"to": ints(0, 3, 2, -1)}, {}, (2, 3, 2, 20)),
        ("Flatten", {}, {"axis": 1}, (2, 120)),
        ("Flatten", {}, {"axis": 2}, (12, 20)),
        ("Unsqueeze", {"axes": ints(1, 5)}, {}, (2, 1, 6, 4, 5, 1)),
    ],
)
def test_reshaping(
    kind: str, constants: dict[str, np.ndarray], attributes: dict[str, int], shape: tuple[int, ...]
) -> None:
    check_rule([node(kind, ["x", *constants], **attributes)], X, lambda x: x.reshape(shape), constants=constants)


def test_squeeze_below_a_mean() -> None:
    nodes = [node("GlobalAveragePool", ["x"], "m"), node("Squeeze", ["m", "axes"])]
    check_rule(nodes, X, lambda x: x.mean((2, 3)), constants={"axes": ints(2, 3)})


@given(st.permutations(range(4)))
@settings(max_examples=15, deadline=None)
def test_transpose(order: list[int]) -> None:
    check_rule([node("Transpose", ["x"], perm=order)], X, lambda x: x.permute(order))


def test_transpose_without_an_order() -> None:
    check_rule([node("Transpose", ["x"])], X, lambda x: x.permute(3, 2, 1, 0))


@pytest.mark.parametrize("axis", [1, 2, -1])
def test_concat(axis: int) -> None:
    inputs = {"a": normal(1, 2, 3, 4, 5), "b": normal(2, 2, 3, 4, 5), "c": normal(3, 2, 3, 4, 5)}
    concat = node("Concat", ["a", "b", "c"], axis=axis)
    check_rule([concat], inputs, lambda a, b, c: torch.cat([a, b, c], axis))
    check_rule([concat], inputs, lambda a, b, c: torch.cat([a, b, c], axis), wanted=["b"])


@pytest.mark.parametrize("used", [("p", "q"), ("p",), ("q",)])
def test_split(used: tuple[str, ...]) -> None:
    """A part that nothing uses has the gradient 0."""
    split = helper.make_node("Split", ["x", "sizes"], ["p", "q"], axis=1)
    last = node("Relu", used) if len(used) == 1 else node("Concat", used[::-1], axis=1)
    start, end = {("p",): (0, 2), ("q",): (2, 6)}.get(used, (0, 6))

    def reference(x: torch.Tensor) -> torch.Tensor:
        if len(used) == 2:
            return torch.cat([x[:, 2:], x[:, :2]], 1)
        return torch.relu(x[:, start:end])

    check_rule([split, last], X, reference, constants={"sizes": ints(2, 4)})


def test_channel_shuffle() -> None:
    nodes = [
        node("Reshape", ["x", "split"], "s"),
        node("Transpose", ["s"], "t", perm=[0, 2, 1, 3, 4]),
        node("Reshape", ["t", "join"]),
    ]
    constants = {"split": ints(0, 2, 3, 4, 5), "join": ints(0, -1, 4, 5)}
    check_rule(nodes, X, torch.nn.ChannelShuffle(2).forward, constants=constants)


@st.composite
def slices(draw: st.DrawFn) -> dict[int, tuple[int, int, int]]:
    """Axis -> start, end, step of slices that take at least one value."""
    chosen = {}
    for axis in draw(st.sets(st.integers(1, 3), min_size=1)):
        side = X["x"].shape[axis]
        step = draw(st.sampled_from([1, 1, 2, 3, -1, -2]))
        start = draw(st.integers(0, side - 1))
        if step > 0:
            end = draw(st.sampled_from([side, 2**31, draw(st.integers(start + 1, side))]))
        else:
            end = draw(st.sampled_from([-(2**31), -side - 1]))
        chosen[axis] = (start, end, step)
    return chosen


@settings(max_examples=50, deadline=None)
@given(slices())
def test_slice(chosen: dict[int, tuple[int, int, int]]) -> None:
    columns = list(zip(*chosen.values(), strict=True))
    constants = {
        "starts": ints(*columns[0]),
        "ends": ints(*columns[1]),
        "axes": ints(*chosen),
        "steps": ints(*columns[2]),
    }

    def reference(x: torch.Tensor) -> torch.Tensor:
        for axis, (start, end, step) in chosen.items():
            side = x.shape[axis]
            taken = range(side)[slice(start, None if end < -side else end, step)]
            x = x.index_select(axis, torch.tensor(list(taken)))
        return x

    check_rule([node("Slice", ["x", *constants])], X, reference, constants=constants)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(-1, 3), min_size=4, max_size=4), st.booleans())
def test_pad(amounts: list[int], named_axes: bool) -> None:
    """Also negative amounts, which cut."""
    top, left, bottom, right = amounts
    if named_axes:
        constants = {"pads": ints(*amounts), "value": np.float32(2), "axes": ints(2, -1)}
    else:
        constants = {"pads": ints(0, 0, top, left, 0, 0, bottom, right), "value": np.float32(2)}

    def reference(x: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.pad(x, (left, right, top, bottom), value=2)

    check_rule([node("Pad", ["x", *constants])], X, reference, constants=constants)


def test_pad_that_repeats() -> None:
    with pytest.raises(BundleError, match=r"operator Pad \(output 'y'\) has mode 'edge', expected 'constant'"):
        pad = node("Pad", ["x", "pads"], mode="edge")
        check_rule([pad], X, lambda x: x, constants={"pads": ints(0, 0, 1, 1, 0, 0, 1, 1)})


def test_computed_bounds() -> None:
    inputs = {**X, "ends": ints(2).astype(np.float32)}
    nodes = [
        helper.make_node("Cast", ["ends"], ["e"], to=TensorProto.INT64),
        node("Slice", ["x", "zero", "e", "axis"]),
    ]
    constants = {"zero": ints(0), "axis": ints(2)}
    with pytest.raises(BundleError, match=r"the shape of tensor 'y' depends on data, expected a static one"):
        check_rule(nodes, inputs, lambda x, ends: x, constants=constants, wanted=["x"])
