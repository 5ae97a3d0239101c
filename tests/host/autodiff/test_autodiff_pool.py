"""Gradients of poolings, ties and partial windows included."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch.nn import functional

from autodiff_check import check_rule, node, normal
from lightcl_edge.errors import BundleError


@dataclass(frozen=True)
class Pool:
    """A pooling window."""

    kernel: tuple[int, int]
    strides: tuple[int, int]
    pads: tuple[int, int]
    dilations: tuple[int, int]
    image: tuple[int, int]
    ceil: bool

    def has_windows_outside(self) -> bool:
        """Ceil mode can place a last window beyond the image, which PyTorch drops and ONNX keeps."""
        for i in (0, 1):
            room = self.image[i] + 2 * self.pads[i] - self.dilations[i] * (self.kernel[i] - 1) - 1
            if self.ceil and -(-room // self.strides[i]) * self.strides[i] >= self.image[i] + self.pads[i]:
                return True
        return False


@st.composite
def pools(draw: st.DrawFn, *, dilated: bool) -> Pool:
    """Windows as PyTorch allows them: pads of at most half the kernel."""
    pair = lambda low, high: st.tuples(st.integers(low, high), st.integers(low, high))  # noqa: E731
    kernel = draw(pair(1, 4))
    pads = tuple(draw(st.integers(0, side // 2)) for side in kernel)
    dilations = draw(pair(1, 2)) if dilated else (1, 1)
    least = [dilations[i] * (kernel[i] - 1) + 1 - 2 * pads[i] for i in (0, 1)]
    image = tuple(max(1, side) + draw(st.integers(0, 6)) for side in least)
    pool = Pool(kernel, draw(pair(1, 3)), pads, dilations, image, draw(st.booleans()))
    assume(not pool.has_windows_outside())
    return pool


def check_max(pool: Pool, seed: int) -> None:
    # whole numbers after a ReLU: most windows have several maxima
    x = np.maximum(np.random.default_rng(seed).integers(-2, 3, (2, 3, *pool.image)), 0).astype(np.float32)
    attributes = {"strides": pool.strides, "pads": pool.pads * 2, "dilations": pool.dilations}
    pooling = node("MaxPool", ["x"], kernel_shape=pool.kernel, ceil_mode=int(pool.ceil), **attributes)

    def reference(x: torch.Tensor) -> torch.Tensor:
        return functional.max_pool2d(x, pool.kernel, pool.strides, pool.pads, pool.dilations, pool.ceil)

    assume(bool(reference(torch.from_numpy(x)).isfinite().all()))  # with dilation all positions can lie in the pads
    check_rule([pooling], {"x": x}, reference)


@settings(max_examples=50, deadline=None)
@given(pools(dilated=True), st.integers(0, 999))
def test_max_pool(pool: Pool, seed: int) -> None:
    check_max(pool, seed)


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(pools(dilated=True), st.integers(0, 999))
def test_max_pool_many(pool: Pool, seed: int) -> None:
    check_max(pool, seed)


def test_max_pool_of_all_zeros() -> None:
    """The gradient of a window of equal values goes to its first one."""
    pooling = node("MaxPool", ["x"], kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    zeros = np.zeros((1, 2, 6, 6), np.float32)
    check_rule([pooling], {"x": zeros}, lambda x: functional.max_pool2d(x, 3, 2, 1))


@settings(max_examples=50, deadline=None)
@given(pools(dilated=False), st.booleans())
def test_average_pool(pool: Pool, pads_count: bool) -> None:
    attributes = {"strides": pool.strides, "pads": pool.pads * 2, "count_include_pad": int(pads_count)}
    pooling = node("AveragePool", ["x"], kernel_shape=pool.kernel, ceil_mode=int(pool.ceil), **attributes)

    def reference(x: torch.Tensor) -> torch.Tensor:
        return functional.avg_pool2d(x, pool.kernel, pool.strides, pool.pads, pool.ceil, pads_count)

    check_rule([pooling], {"x": normal(1, 2, 3, *pool.image)}, reference)


def test_window_outside_the_image() -> None:
    pooling = node("AveragePool", ["x"], kernel_shape=[1, 1], strides=[2, 2], ceil_mode=1)
    message = r"operator AveragePool \(output 'y'\) has windows wholly outside its image, expected none"
    with pytest.raises(BundleError, match=message):
        check_rule([pooling], {"x": normal(1, 1, 1, 2, 2)}, torch.relu)


@settings(max_examples=25, deadline=None)
@given(st.sets(st.integers(-4, 3), max_size=4), st.booleans())
def test_reduce_mean(axes: set[int], keep: bool) -> None:
    chosen = sorted({axis % 4 for axis in axes})
    constants = {"axes": np.array(chosen, np.int64)}
    mean = node("ReduceMean", ["x", "axes"], keepdims=int(keep), noop_with_empty_axes=0)

    def reference(x: torch.Tensor) -> torch.Tensor:
        return x.mean(chosen or [0, 1, 2, 3], keepdim=keep)

    check_rule([mean], {"x": normal(1, 2, 3, 4, 5)}, reference, constants=constants)


def test_reduce_mean_over_no_axes() -> None:
    mean = node("ReduceMean", ["x"], noop_with_empty_axes=1)
    check_rule([mean], {"x": normal(1, 2, 3)}, lambda x: x * 1)
