"""What ONNX's convolutions, poolings and resizings compute, written in torch."""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own customary name

from lightcl_edge.errors import BundleError
from lightcl_edge.learning.engines.resize_weights import axis_weights
from lightcl_edge.learning.engines.torch_node import Node, Rule, Tensor


def _pair_pads(value: Tensor, pads: Sequence[int], fill: float = 0.0) -> tuple[Tensor, list[int]]:
    """Split ONNX pads (begins, then ends) into what the operator can take and an explicit pad."""
    if not any(pads):
        return value, [0] * (len(pads) // 2)
    half = len(pads) // 2
    begins, ends = list(pads[:half]), list(pads[half:])
    if begins == ends and fill == 0.0:
        return value, begins
    torch_order = [side for axis in reversed(range(half)) for side in (begins[axis], ends[axis])]
    return F.pad(value, torch_order, value=fill), [0] * half


def _pads(node: Node, image: Tensor, kernel: Sequence[int]) -> list[int]:
    """The pads that the node states, or those that give ``ceil(side / stride)`` windows."""
    given, ones = node.attributes, [1] * len(kernel)
    kind = given.get("auto_pad", b"NOTSET")
    if kind not in (b"SAME_UPPER", b"SAME_LOWER"):
        return list(given.get("pads", [0, 0] * len(kernel)))
    totals = []
    axes = zip(image.shape[2:], kernel, given.get("strides", ones), given.get("dilations", ones), strict=True)
    for side, size, stride, dilation in axes:
        reach = (-(-side // stride) - 1) * stride + dilation * (size - 1) + 1
        totals.append(max(reach - side, 0))
    small, large = [total // 2 for total in totals], [total - total // 2 for total in totals]
    return [*small, *large] if kind == b"SAME_UPPER" else [*large, *small]


def _conv(node: Node, image: Tensor, kernel: Tensor, bias: Tensor | None = None) -> Tensor:
    given, ones = node.attributes, [1] * (image.ndim - 2)
    value, padding = _pair_pads(image, _pads(node, image, kernel.shape[2:]))
    stride, dilation = given.get("strides", ones), given.get("dilations", ones)
    convolve = F.conv1d if image.ndim == 3 else F.conv2d
    return convolve(value, kernel, bias, stride, padding, dilation, given.get("group", 1))


def _max_pool(node: Node, image: Tensor) -> Tensor:
    given = node.attributes
    value, padding = _pair_pads(image, _pads(node, image, given["kernel_shape"]), float("-inf"))
    stride, dilation = given.get("strides", [1, 1]), given.get("dilations", [1, 1])
    return F.max_pool2d(value, given["kernel_shape"], stride, padding, dilation, bool(given.get("ceil_mode", 0)))


def _average_pool(node: Node, image: Tensor) -> Tensor:
    given = node.attributes
    pads, counted = _pads(node, image, given["kernel_shape"]), bool(given.get("count_include_pad", 0))
    if pads[:2] != pads[2:] and not counted:
        raise BundleError("AveragePool with uneven pads that are not counted can't be trained; choose a later cut")
    value, padding = _pair_pads(image, pads)
    stride, ceil = given.get("strides", [1, 1]), bool(given.get("ceil_mode", 0))
    return F.avg_pool2d(value, given["kernel_shape"], stride, padding, ceil, counted)


def _conv_transpose(node: Node, image: Tensor, kernel: Tensor, bias: Tensor | None = None) -> Tensor:
    """Made without pads, then cut: ONNX's pads may differ at both ends."""
    given = node.attributes
    if given.get("auto_pad", b"NOTSET") not in (b"NOTSET", b"VALID"):
        raise BundleError("ConvTranspose that leaves its pads to the runtime can't be trained; choose a later cut")
    pads, extra = given.get("pads", [0] * 4), given.get("output_padding", [0, 0])
    stride, dilation = given.get("strides", [1, 1]), given.get("dilations", [1, 1])
    whole = F.conv_transpose2d(image, kernel, bias, stride, 0, 0, given.get("group", 1), dilation)
    cut = [side for axis in (1, 0) for side in (-pads[axis], extra[axis] - pads[axis + 2])]
    if bias is None or not any(extra):
        return F.pad(whole, cut)
    plain = F.conv_transpose2d(image, kernel, None, stride, 0, 0, given.get("group", 1), dilation)
    return F.pad(plain, cut) + bias.reshape(1, -1, 1, 1)


def _resize(
    node: Node, value: Tensor, _region: Tensor | None = None, scales: Tensor | None = None, sides: Tensor | None = None
) -> Tensor:
    """Axis by axis, as a product with the weights of the interpolation."""
    given = scales is not None and scales.numel() > 0
    stated = (scales if given else sides).tolist()  # type: ignore[union-attr]  # a Resize has one of them
    for axis, to in zip(node.attributes.get("axes", range(value.ndim)), stated, strict=True):
        before = value.shape[axis]
        after = math.floor(before * to) if given else to
        if (to if given else after / before) == 1:
            continue
        weights = torch.from_numpy(axis_weights(node.attributes, before, after, to if given else None)).to(value)
        value = torch.movedim(torch.movedim(value, axis, -1) @ weights, -1, axis)
    return value


WINDOWS: dict[str, Rule] = {
    "AveragePool": _average_pool,
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "MaxPool": _max_pool,
    "Resize": _resize,
}
