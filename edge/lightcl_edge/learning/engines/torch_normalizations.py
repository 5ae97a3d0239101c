"""What ONNX's sums over axes and normalisations compute, written in torch."""

from collections.abc import Callable

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own customary name

from lightcl_edge.learning.engines.torch_node import Node, Rule, Tensor, axes_of


def _reduction(reduce: Callable[[Tensor, list[int], bool], Tensor]) -> Rule:
    """A rule from what reduces a tensor over a list of axes, which it keeps or not."""

    def rule(node: Node, value: Tensor, axes: Tensor | None = None) -> Tensor:
        over = axes_of(node, axes)
        if not over and node.attributes.get("noop_with_empty_axes", 0):
            return value
        return reduce(value, over or list(range(value.ndim)), bool(node.attributes.get("keepdims", 1)))

    return rule


def _layer_norm(node: Node, value: Tensor, scale: Tensor, bias: Tensor | None = None) -> Tensor:
    sides = value.shape[node.attributes.get("axis", -1) % value.ndim :]
    result = F.layer_norm(value, sides, eps=node.attributes.get("epsilon", 1e-5)) * scale
    return result if bias is None else result + bias


def _rms_norm(node: Node, value: Tensor, scale: Tensor) -> Tensor:
    sides = value.shape[node.attributes.get("axis", -1) % value.ndim :]
    return F.rms_norm(value, sides, eps=node.attributes.get("epsilon", 1e-5)) * scale


def _group_norm(node: Node, value: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
    groups = node.attributes.get("num_groups", value.shape[1])
    return F.group_norm(value, groups, scale, bias, node.attributes.get("epsilon", 1e-5))


def batch_norm(
    node: Node, training: bool, value: Tensor, scale: Tensor, shift: Tensor, mean: Tensor, variance: Tensor
) -> Tensor:
    """The one operator that computes another thing while it is trained: it then renews ``mean`` and ``variance``."""
    # ONNX: running = running * momentum + batch * (1 - momentum); torch names the other share.
    share = 1.0 - node.attributes.get("momentum", 0.9)
    return F.batch_norm(value, mean, variance, scale, shift, training, share, node.attributes.get("epsilon", 1e-5))


def _of_pixels(value: Tensor) -> list[int]:
    return list(range(2, value.ndim))


NORMALIZATIONS: dict[str, Rule] = {
    "GlobalAveragePool": lambda _, value: value.mean(dim=_of_pixels(value), keepdim=True),
    "GlobalMaxPool": lambda _, value: value.amax(dim=_of_pixels(value), keepdim=True),
    "GroupNormalization": _group_norm,
    "InstanceNormalization": _group_norm,
    "LayerNormalization": _layer_norm,
    "LogSoftmax": lambda node, value: F.log_softmax(value, node.attributes.get("axis", -1)),
    "RMSNormalization": _rms_norm,
    "ReduceL2": _reduction(lambda value, axes, keep: torch.linalg.vector_norm(value, dim=axes, keepdim=keep)),
    "ReduceMax": _reduction(lambda value, axes, keep: value.amax(dim=axes, keepdim=keep)),
    "ReduceMean": _reduction(lambda value, axes, keep: value.mean(dim=axes, keepdim=keep)),
    "ReduceMin": _reduction(lambda value, axes, keep: value.amin(dim=axes, keepdim=keep)),
    "ReduceSum": _reduction(lambda value, axes, keep: value.sum(dim=axes, keepdim=keep)),
    "ReduceSumSquare": _reduction(lambda value, axes, keep: (value * value).sum(dim=axes, keepdim=keep)),
    "Softmax": lambda node, value: F.softmax(value, node.attributes.get("axis", -1)),
}
