"""Gradients of Conv in drawn geometries."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from autodiff_check import check_rule, node, normal
from lightcl_host.autodiff.rules import conv


@dataclass(frozen=True)
class Geometry:
    """A convolution."""

    samples: int
    groups: int
    per_group_in: int
    per_group_out: int
    kernel: tuple[int, int]
    strides: tuple[int, int]
    dilations: tuple[int, int]
    pads: tuple[int, int, int, int]
    image: tuple[int, int]
    bias: bool


@st.composite
def geometries(draw: st.DrawFn) -> Geometry:
    """Convolutions whose output has at least one pixel."""
    pair = lambda low, high: st.tuples(st.integers(low, high), st.integers(low, high))  # noqa: E731
    kernel, dilations = draw(pair(1, 4)), draw(pair(1, 2))
    pads = draw(st.tuples(*[st.integers(0, 3)] * 4))
    least = [dilations[i] * (kernel[i] - 1) + 1 - pads[i] - pads[i + 2] for i in (0, 1)]
    image = tuple(max(1, side) + draw(st.integers(0, 6)) for side in least)
    return Geometry(
        samples=draw(st.integers(1, 5)),
        groups=draw(st.sampled_from([1, 1, 2, 3, 4])),
        per_group_in=draw(st.integers(1, 3)),
        per_group_out=draw(st.integers(1, 3)),
        kernel=kernel,
        strides=draw(pair(1, 3)),
        dilations=dilations,
        pads=pads,
        image=image,
        bias=draw(st.booleans()),
    )


def check(geometry: Geometry) -> None:
    g = geometry
    inputs = {
        "x": normal(1, g.samples, g.groups * g.per_group_in, *g.image),
        "w": normal(2, g.groups * g.per_group_out, g.per_group_in, *g.kernel),
    }
    if g.bias:
        inputs["b"] = normal(3, g.groups * g.per_group_out)
    conv = node("Conv", list(inputs), group=g.groups, strides=g.strides, dilations=g.dilations, pads=g.pads)

    def reference(x: torch.Tensor, w: torch.Tensor, b: torch.Tensor | None = None) -> torch.Tensor:
        top, left, bottom, right = g.pads
        padded = torch.nn.functional.pad(x, (left, right, top, bottom))
        return torch.nn.functional.conv2d(padded, w, b, g.strides, 0, g.dilations, g.groups)

    check_rule([conv], inputs, reference)


@settings(max_examples=60, deadline=None)
@given(geometries())
def test_conv(geometry: Geometry) -> None:
    check(geometry)


@pytest.mark.slow
@settings(max_examples=500, deadline=None)
@given(geometries())
def test_conv_many(geometry: Geometry) -> None:
    check(geometry)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(geometries(), st.integers(1, 4000))
def test_conv_in_chunks(monkeypatch: pytest.MonkeyPatch, geometry: Geometry, chunk_bytes: int) -> None:
    """Groups rearranged in chunks of any size give the same gradient."""
    monkeypatch.setattr(conv, "CHUNK_BYTES", chunk_bytes)
    check(geometry)


@settings(max_examples=25, deadline=None)
@given(
    st.sampled_from([(1, 4, 6), (6, 1, 1), (6, 1, 2)]),
    st.sampled_from([(3, 3), (5, 5), (1, 1), (2, 4)]),
    st.sampled_from([1, 2, 3]),
    st.booleans(),
)
def test_depthwise_and_square_kernels(
    shape: tuple[int, int, int], kernel: tuple[int, int], stride: int, same: bool
) -> None:
    """The geometries that networks really use."""
    pads = (kernel[0] // 2, kernel[1] // 2) * 2 if same else (0, 0, 0, 0)
    check(Geometry(3, *shape, kernel, (stride, stride), (1, 1), pads, (7, 8), bias=True))


@pytest.mark.parametrize("kind", ["SAME_UPPER", "SAME_LOWER", "VALID"])
@pytest.mark.parametrize("stride", [1, 2])
def test_automatic_pads(kind: str, stride: int) -> None:
    inputs = {"x": normal(1, 2, 3, 7, 8), "w": normal(2, 4, 3, 3, 2)}
    conv = node("Conv", ["x", "w"], strides=[stride, stride], auto_pad=kind)

    def reference(x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        pads = []
        for side, length in ((8, 2), (7, 3)):  # torch pads the last axis first
            total = max((-(-side // stride) - 1) * stride + length - side, 0)
            before = total // 2 if kind == "SAME_UPPER" else total - total // 2
            pads += [0, 0] if kind == "VALID" else [before, total - before]
        return torch.nn.functional.conv2d(torch.nn.functional.pad(x, pads), w, stride=stride)

    check_rule([conv], inputs, reference)


def test_frozen_kernel_and_features() -> None:
    """Only what is wanted gets a gradient."""
    inputs = {"x": normal(1, 2, 3, 5, 5), "w": normal(2, 4, 3, 3, 3)}

    def reference(x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.conv2d(x, w)

    check_rule([node("Conv", ["x", "w"])], inputs, reference, wanted=["x"])
    check_rule([node("Conv", ["x", "w"])], inputs, reference, wanted=["w"])


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 3), st.integers(8, 20), st.integers(8, 20), st.tuples(st.integers(1, 3), st.integers(1, 3)))
def test_pointwise_kernels_larger_than_their_activations(
    samples: int, channels: int, filters: int, image: tuple[int, int]
) -> None:
    """Few pixels under a large 1x1 kernel take another way to the image's gradient than many do."""
    check(Geometry(samples, 1, channels, filters, (1, 1), (1, 1), (1, 1), (0, 0, 0, 0), image, bias=True))


@pytest.mark.parametrize("kernel", [(1, 1), (2, 2)])
def test_windows_that_lie_in_the_padding_alone(kernel: tuple[int, int]) -> None:
    """An image of one pixel between the windows: the kernel has no effect, and its gradient is zero."""
    check(Geometry(2, 1, 3, 4, kernel, (4, 4), (1, 1), (2, 2, 2, 2), (1, 1), bias=True))


@pytest.mark.parametrize("group", [1, 4])
def test_one_dimension(group: int) -> None:
    """As efficient channel attention has it."""
    inputs = {"x": normal(1, 2, 4, 9), "w": normal(2, 4, 4 // group, 3), "b": normal(3, 4)}
    layer = node("Conv", list(inputs), pads=[2, 1], strides=[2], group=group)

    def reference(x: torch.Tensor, w: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.conv1d(torch.nn.functional.pad(x, (2, 1)), w, b, 2, groups=group)

    check_rule([layer], inputs, reference)
