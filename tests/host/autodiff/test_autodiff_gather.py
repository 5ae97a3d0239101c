"""Gradients of operators that choose, repeat and interpolate values, and of transposed convolutions."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from autodiff_check import check_rule, node, normal
from lightcl_edge.errors import BundleError

X = {"x": normal(1, 2, 6, 4, 5)}


@settings(max_examples=30, deadline=None)
@given(st.integers(-4, 3), st.lists(st.integers(-2, 1), min_size=1, max_size=6))
def test_gather(axis: int, indices: list[int]) -> None:
    """Also an index twice, negative ones, and ones that are left out."""
    constants = {"i": np.array(indices, np.int64)}
    chosen = torch.tensor([index % X["x"].shape[axis] for index in indices])
    check_rule([node("Gather", ["x", "i"], axis=axis)], X, lambda x: x.index_select(axis, chosen), constants=constants)


@pytest.mark.parametrize("index", [0, 3, -1])
def test_gather_of_one(index: int) -> None:
    """A class token: the axis goes away."""
    constants = {"i": np.int64(index)}
    check_rule([node("Gather", ["x", "i"], axis=1)], X, lambda x: x[:, index], constants=constants)


def test_gather_by_a_table() -> None:
    table = np.array([[0, 2, 1], [3, 0, 2]], np.int64)
    check_rule(
        [node("Gather", ["x", "t"], axis=2)], X, lambda x: x[:, :, torch.from_numpy(table)], constants={"t": table}
    )


@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (1, 1, 3, 1, 1)])
def test_expand(shape: tuple[int, ...]) -> None:
    inputs = {"x": normal(1, 2, 1, 4, 5)}
    constants = {"s": np.array(shape, np.int64)}
    out = np.broadcast_shapes(shape, inputs["x"].shape)
    check_rule([node("Expand", ["x", "s"])], inputs, lambda x: x.expand(out), constants=constants)


def test_tile() -> None:
    constants = {"r": np.array([1, 2, 1, 3], np.int64)}
    check_rule([node("Tile", ["x", "r"])], X, lambda x: x.repeat(1, 2, 1, 3), constants=constants)


def test_pixel_shuffle() -> None:
    image = {"x": normal(1, 2, 8, 3, 4)}
    check_rule([node("DepthToSpace", ["x"], blocksize=2, mode="CRD")], image, lambda x: functional.pixel_shuffle(x, 2))

    def columns_first(x: torch.Tensor) -> torch.Tensor:
        apart = x.reshape(2, 2, 2, 2, 3, 4)
        return apart.permute(0, 3, 4, 1, 5, 2).reshape(2, 2, 6, 8)

    check_rule([node("DepthToSpace", ["x"], blocksize=2)], image, columns_first)

    def depth(x: torch.Tensor) -> torch.Tensor:
        apart = x.reshape(2, 3, 2, 2, 2, 2)
        return apart.permute(0, 3, 5, 1, 2, 4).reshape(2, 12, 2, 2)

    check_rule([node("SpaceToDepth", ["x"], blocksize=2)], {"x": normal(1, 2, 3, 4, 4)}, depth)


NEAREST = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
LINEAR = {"mode": "linear", "coordinate_transformation_mode": "half_pixel"}
CORNERS = {"mode": "linear", "coordinate_transformation_mode": "align_corners"}
CUBIC = {"mode": "cubic", "coordinate_transformation_mode": "half_pixel", "cubic_coeff_a": -0.75}


@pytest.mark.parametrize("sides", [(8, 10), (4, 15), (7, 9), (3, 4)])
def test_resize_by_sides(sides: tuple[int, int]) -> None:
    constants = {"s": np.array([2, 6, *sides], np.int64)}
    for attributes, mode, corners in (
        (NEAREST, "nearest", None),
        (LINEAR, "bilinear", False),
        (CORNERS, "bilinear", True),
        (CUBIC, "bicubic", False),
    ):
        check_rule(
            [node("Resize", ["x", "", "", "s"], **attributes)],
            X,
            lambda x, mode=mode, corners=corners: functional.interpolate(x, sides, mode=mode, align_corners=corners),
            constants=constants,
        )


def test_resize_by_scales_of_named_axes() -> None:
    constants = {"s": np.array([2, 3], np.float32)}
    resize = node("Resize", ["x", "", "s"], axes=[2, 3], **NEAREST)
    check_rule([resize], X, lambda x: functional.interpolate(x, scale_factor=(2, 3)), constants=constants)


def test_resize_that_crops() -> None:
    constants = {"r": np.array([0, 0, 0, 0, 1, 1, 1, 1], np.float32), "s": np.array([2, 6, 8, 10], np.int64)}
    resize = node("Resize", ["x", "r", "", "s"], coordinate_transformation_mode="tf_crop_and_resize")
    with pytest.raises(BundleError, match="operator Resize crops or keeps the aspect ratio, expected it to stretch"):
        check_rule([resize], X, lambda x: x, constants=constants)


@settings(max_examples=20, deadline=None)
@given(
    kernel=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    strides=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    dilations=st.tuples(st.integers(1, 2), st.integers(1, 2)),
    pads=st.tuples(st.integers(0, 1), st.integers(0, 1)),
    group=st.sampled_from([1, 2]),
    more=st.integers(0, 2),
)
def test_transposed_convolution(
    kernel: tuple[int, int],
    strides: tuple[int, int],
    dilations: tuple[int, int],
    pads: tuple[int, int],
    group: int,
    more: int,
) -> None:
    extra = [min(more, stride - 1) for stride in strides]
    if any(dilation * (side - 1) < 2 * pad for dilation, side, pad in zip(dilations, kernel, pads, strict=True)):
        pads = (0, 0)
    inputs = {"x": normal(1, 2, 4, 5, 4), "w": normal(2, 4, 3, *kernel), "b": normal(3, 3 * group)}
    layer = node(
        "ConvTranspose",
        list(inputs),
        strides=strides,
        dilations=dilations,
        pads=[*pads, *pads],
        group=group,
        output_padding=extra,
    )

    def reference(x: torch.Tensor, w: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return functional.conv_transpose2d(x, w, b, strides, pads, extra, group, dilations)

    check_rule([layer], inputs, reference)


def test_transposed_convolution_with_automatic_pads() -> None:
    inputs = {"x": normal(1, 2, 4, 5, 4), "w": normal(2, 4, 3, 2, 2)}
    layer = node("ConvTranspose", list(inputs), auto_pad="SAME_UPPER", strides=[2, 2])
    with pytest.raises(BundleError, match=r"operator ConvTranspose \(output 'y'\) leaves its pads to the runtime"):
        check_rule([layer], inputs, lambda x, w: x)
