"""What each ONNX operator computes, written in torch."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own customary name

from lightcl_edge.errors import BundleError

Tensor = torch.Tensor


@dataclass(frozen=True)
class Node:
    """One operator of a graph; an input that is left out has an empty name."""

    operator: str
    inputs: list[str]
    outputs: list[str]
    attributes: dict[str, Any]  # only those that the file sets


#: Takes the node and its input tensors, None for one that is left out; gives a tensor, or several.
Rule = Callable[..., Any]


def _pair_pads(value: Tensor, pads: Sequence[int], fill: float = 0.0) -> tuple[Tensor, list[int]]:
    """Split ONNX pads (begins, then ends) into what the operator can take and an explicit pad."""
    if not any(pads):
        return value, [0, 0]
    half = len(pads) // 2
    begins, ends = list(pads[:half]), list(pads[half:])
    if begins == ends and fill == 0.0:
        return value, begins
    torch_order = [side for axis in reversed(range(half)) for side in (begins[axis], ends[axis])]
    return F.pad(value, torch_order, value=fill), [0] * half


def _conv(node: Node, image: Tensor, kernel: Tensor, bias: Tensor | None = None) -> Tensor:
    given = node.attributes
    value, padding = _pair_pads(image, given.get("pads", [0, 0, 0, 0]))
    stride, dilation = given.get("strides", [1, 1]), given.get("dilations", [1, 1])
    return F.conv2d(value, kernel, bias, stride, padding, dilation, given.get("group", 1))


def _gemm(node: Node, left: Tensor, right: Tensor, added: Tensor | None = None) -> Tensor:
    given = node.attributes
    left = left.T if given.get("transA", 0) else left
    right = right.T if given.get("transB", 0) else right
    product: Tensor = (left @ right) * given.get("alpha", 1.0)
    return product if added is None else product + added * given.get("beta", 1.0)


def _clip(_: Node, value: Tensor, low: Tensor | None = None, high: Tensor | None = None) -> Tensor:
    return torch.clamp(value, *(None if bound is None else float(bound) for bound in (low, high)))


def _max_pool(node: Node, image: Tensor) -> Tensor:
    given = node.attributes
    value, padding = _pair_pads(image, given.get("pads", [0] * 4), float("-inf"))
    stride, dilation = given.get("strides", [1, 1]), given.get("dilations", [1, 1])
    return F.max_pool2d(
        value, given.get("kernel_shape", [1, 1]), stride, padding, dilation, bool(given.get("ceil_mode", 0))
    )


def _average_pool(node: Node, image: Tensor) -> Tensor:
    given = node.attributes
    pads, counted = given.get("pads", [0] * 4), bool(given.get("count_include_pad", 0))
    if pads[:2] != pads[2:] and not counted:
        raise BundleError("AveragePool with uneven pads that are not counted can't be trained; choose a later cut")
    value, padding = _pair_pads(image, pads)
    stride, ceil = given.get("strides", [1, 1]), bool(given.get("ceil_mode", 0))
    return F.avg_pool2d(value, given.get("kernel_shape", [1, 1]), stride, padding, ceil, counted)


def _axes(node: Node, axes: Tensor | None) -> list[int]:
    """Axes as an input, or as an attribute in older opsets."""
    return list(node.attributes.get("axes", [])) if axes is None else [int(axis) for axis in axes.tolist()]


def _reduce_mean(node: Node, value: Tensor, axes: Tensor | None = None) -> Tensor:
    return value.mean(
        dim=_axes(node, axes) or list(range(value.ndim)), keepdim=bool(node.attributes.get("keepdims", 1))
    )


def _reduce_l2(node: Node, value: Tensor, axes: Tensor) -> Tensor:
    length: Tensor = torch.linalg.vector_norm(
        value, dim=axes.tolist(), keepdim=bool(node.attributes.get("keepdims", 1))
    )
    return length


def _reshape(_: Node, value: Tensor, shape: Tensor) -> Tensor:
    return value.reshape([value.shape[i] if side == 0 else side for i, side in enumerate(shape.tolist())])


def _squeeze(node: Node, value: Tensor, axes: Tensor | None = None) -> Tensor:
    found = _axes(node, axes)
    return value.squeeze(tuple(found)) if found else value.squeeze()


def _unsqueeze(node: Node, value: Tensor, axes: Tensor | None = None) -> Tensor:
    for axis in sorted(_axes(node, axes)):
        value = value.unsqueeze(axis)
    return value


def _split(node: Node, value: Tensor, sizes: Tensor | None = None) -> Sequence[Tensor]:
    axis = node.attributes.get("axis", 0)
    equal = -(-value.shape[axis] // len(node.outputs))
    return torch.split(value, equal if sizes is None else sizes.tolist(), dim=axis)


def _slice(
    _: Node, value: Tensor, starts: Tensor, ends: Tensor, axes: Tensor | None = None, steps: Tensor | None = None
) -> Tensor:
    count = len(starts)
    bounds = starts.tolist(), ends.tolist()
    order = range(count) if axes is None else axes.tolist()
    for start, end, axis, step in zip(*bounds, order, [1] * count if steps is None else steps.tolist(), strict=True):
        index = np.arange(value.shape[axis])[slice(start, None if end <= -(2**31) else end, step)]
        value = value.index_select(axis, torch.from_numpy(index.copy()))
    return value


def _pad(node: Node, value: Tensor, pads: Tensor, fill: Tensor | None = None) -> Tensor:
    mode = node.attributes.get("mode", b"constant").decode()
    if mode != "constant":
        raise BundleError(f"Pad mode {mode!r} can't be trained, expected constant")
    sides = pads.tolist()
    half = len(sides) // 2
    order = [int(side) for axis in reversed(range(half)) for side in (sides[axis], sides[axis + half])]
    return F.pad(value, order, value=0.0 if fill is None else float(fill))


def batch_norm(
    node: Node, training: bool, value: Tensor, scale: Tensor, shift: Tensor, mean: Tensor, variance: Tensor
) -> Tensor:
    """The one operator that computes another thing while it is trained: it then renews ``mean`` and ``variance``."""
    # ONNX: running = running * momentum + batch * (1 - momentum); torch names the other share.
    share = 1.0 - node.attributes.get("momentum", 0.9)
    return F.batch_norm(value, mean, variance, scale, shift, training, share, node.attributes.get("epsilon", 1e-5))


def _hard_sigmoid(node: Node, value: Tensor) -> Tensor:
    alpha, beta = node.attributes.get("alpha", 0.2), node.attributes.get("beta", 0.5)
    return torch.clamp(value * alpha + beta, 0.0, 1.0)


def _transpose(node: Node, value: Tensor) -> Tensor:
    return value.permute(node.attributes.get("perm", list(reversed(range(value.ndim)))))


RULES: dict[str, Rule] = {
    "Add": lambda _, left, right: left + right,
    "AveragePool": _average_pool,
    "Clip": _clip,
    "Concat": lambda node, *values: torch.cat(values, dim=node.attributes.get("axis", 0)),
    "Conv": _conv,
    "Div": lambda _, left, right: left / right,
    "Dropout": lambda _, value, *_rest: value,
    "Flatten": lambda node, value: torch.flatten(value, node.attributes.get("axis", 1)),
    "Gemm": _gemm,
    "GlobalAveragePool": lambda _, value: value.mean(dim=(2, 3), keepdim=True),
    "HardSigmoid": _hard_sigmoid,
    "HardSwish": lambda _, value: value * torch.clamp(value / 6.0 + 0.5, 0.0, 1.0),
    "Identity": lambda _, value: value,
    "Max": lambda _, left, right: torch.maximum(left, right),
    "MatMul": lambda _, left, right: left @ right,
    "MaxPool": _max_pool,
    "Mul": lambda _, left, right: left * right,
    "Pad": _pad,
    "ReduceL2": _reduce_l2,
    "ReduceMean": _reduce_mean,
    "Relu": lambda _, value: torch.relu(value),
    "Reshape": _reshape,
    "Sigmoid": lambda _, value: torch.sigmoid(value),
    "Slice": _slice,
    "Split": _split,
    "Squeeze": _squeeze,
    "Sub": lambda _, left, right: left - right,
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
}
