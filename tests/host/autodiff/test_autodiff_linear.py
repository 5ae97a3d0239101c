"""Gradients of Gemm and MatMul."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from autodiff_check import check_rule, node, normal
from lightcl_edge.errors import BundleError


@settings(max_examples=40, deadline=None)
@given(
    st.booleans(),
    st.booleans(),
    st.sampled_from([1.0, 0.5]),
    st.sampled_from([1.0, 2.0]),
    st.sampled_from([(), (1,), (4,), (3, 1), (3, 4)]),
)
def test_gemm(trans_a: bool, trans_b: bool, alpha: float, beta: float, bias: tuple[int, ...]) -> None:
    inputs = {
        "a": normal(1, *((5, 3) if trans_a else (3, 5))),
        "b": normal(2, *((4, 5) if trans_b else (5, 4))),
        "c": normal(3, *bias),
    }
    attributes = {"transA": int(trans_a), "transB": int(trans_b), "alpha": alpha, "beta": beta}

    def reference(a: torch.Tensor, b: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
        return alpha * (a.T if trans_a else a) @ (b.T if trans_b else b) + beta * c

    check_rule([node("Gemm", list(inputs), **attributes)], inputs, reference)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ((3, 5), (5, 4)),
        ((2, 3, 5), (5, 4)),
        ((2, 6, 3, 5), (6, 5, 4)),
        ((3, 5), (2, 5, 4)),
        ((2, 1, 3, 5), (1, 6, 5, 4)),
    ],
)
def test_matmul(first: tuple[int, ...], second: tuple[int, ...]) -> None:
    inputs = {"a": normal(1, *first), "b": normal(2, *second)}
    check_rule([node("MatMul", ["a", "b"])], inputs, lambda a, b: a @ b)


def test_weight_behind_other_operators() -> None:
    """A product with a transposed weight, and a convolution with a scaled one."""
    inputs = {"x": normal(1, 3, 5), "w": normal(2, 4, 5)}
    nodes = [node("Transpose", ["w"], "t", perm=[1, 0]), node("MatMul", ["x", "t"])]
    check_rule(nodes, inputs, lambda x, w: x @ w.T)
    inputs = {"x": normal(1, 2, 3, 6, 6), "w": normal(2, 4, 3, 3, 3), "s": normal(3, 4, 1, 1, 1)}
    nodes = [node("Mul", ["w", "s"], "v"), node("Conv", ["x", "v"])]
    check_rule(nodes, inputs, lambda x, w, s: torch.nn.functional.conv2d(x, w * s))


def test_vector_product() -> None:
    message = r"operator MatMul \(output 'y'\) multiplies a vector, expected two or more axes"
    with pytest.raises(BundleError, match=message):
        check_rule([node("MatMul", ["a", "b"])], {"a": normal(1, 3, 5), "b": normal(2, 5)}, np.matmul)


@settings(max_examples=20, deadline=None)
@given(
    st.tuples(st.integers(1, 6), st.integers(1, 6), st.integers(1, 6)),
    st.sampled_from([(2,), (2, 3), (1, 3), (2, 1)]),
    st.sampled_from([(2,), (2, 3), (1, 3), (2, 1), (3,)]),
)
def test_products_of_batches(sides: tuple[int, int, int], first: tuple[int, ...], second: tuple[int, ...]) -> None:
    """Whatever is the largest: the left factor, the right one or the product."""
    try:
        np.broadcast_shapes(first, second)
    except ValueError:
        return
    inputs = {"a": normal(1, *first, *sides[:2]), "b": normal(2, *second, *sides[1:])}
    check_rule([node("MatMul", ["a", "b"])], inputs, torch.matmul)


def test_attention() -> None:
    """Queries, keys and values of two heads, the scores behind a mask."""
    inputs = {name: normal(seed, 3, 2, 5, 4) for seed, name in enumerate("qkv")}
    mask = np.triu(np.ones((5, 5), bool))
    nodes = [
        node("Transpose", ["k"], "t", perm=[0, 1, 3, 2]),
        node("Mul", ["q", "scale"], "s"),
        node("MatMul", ["s", "t"], "scores"),
        node("Where", ["mask", "scores", "low"], "masked"),
        node("Softmax", ["masked"], "p"),
        node("MatMul", ["p", "v"]),
    ]
    constants = {"scale": np.float32(0.5), "mask": mask, "low": np.float32(-1e9)}

    def reference(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.scaled_dot_product_attention(q, k, v, torch.from_numpy(mask), scale=0.5)

    check_rule(nodes, inputs, reference, constants=constants)
