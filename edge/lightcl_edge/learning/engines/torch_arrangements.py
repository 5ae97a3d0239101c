"""What the ONNX operators that move, repeat and choose values compute, written in torch."""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own customary name

from lightcl_edge.errors import BundleError
from lightcl_edge.learning.engines.torch_node import Node, Rule, Tensor, axes_of


def _reshape(_: Node, value: Tensor, shape: Tensor) -> Tensor:
    return value.reshape([value.shape[i] if side == 0 else side for i, side in enumerate(shape.tolist())])


def _squeeze(node: Node, value: Tensor, axes: Tensor | None = None) -> Tensor:
    found = axes_of(node, axes)
    return value.squeeze(tuple(found)) if found else value.squeeze()


def _unsqueeze(node: Node, value: Tensor, axes: Tensor | None = None) -> Tensor:
    found = axes_of(node, axes)
    rank = value.ndim + len(found)
    for axis in sorted(axis % rank for axis in found):
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
        taken = range(value.shape[axis])[slice(start, None if end <= -(2**31) else end, step)]
        if step == 1:  # a view
            value = value.narrow(axis, taken.start, len(taken))
        else:
            value = value.index_select(axis, torch.tensor(list(taken), dtype=torch.int64, device=value.device))
    return value


def _pad(node: Node, value: Tensor, pads: Tensor, fill: Tensor | None = None, axes: Tensor | None = None) -> Tensor:
    mode = node.attributes.get("mode", b"constant").decode()
    if mode != "constant":
        raise BundleError(f"Pad mode {mode!r} can't be trained, expected constant")
    given, half = pads.tolist(), len(pads) // 2
    sides = [[0, 0] for _ in range(value.ndim)]
    for at, axis in enumerate(range(half) if axes is None else axes.tolist()):
        sides[axis] = [given[at], given[at + half]]
    order = [int(side) for pair in reversed(sides) for side in pair]
    return F.pad(value, order, value=0.0 if fill is None else float(fill))


def _transpose(node: Node, value: Tensor) -> Tensor:
    return value.permute(node.attributes.get("perm", list(reversed(range(value.ndim)))))


def _gather(node: Node, value: Tensor, indices: Tensor) -> Tensor:
    axis = node.attributes.get("axis", 0) % value.ndim
    chosen = indices.to(value.device, torch.int64) % value.shape[axis]
    rows = value.index_select(axis, chosen.reshape(-1))
    return rows.reshape([*value.shape[:axis], *indices.shape, *value.shape[axis + 1 :]])


def _expand(_: Node, value: Tensor, shape: Tensor) -> Tensor:
    return value.expand(np.broadcast_shapes(tuple(value.shape), tuple(shape.tolist())))


def _shape(node: Node, value: Tensor) -> Tensor:
    given = node.attributes
    return torch.tensor(value.shape, dtype=torch.int64)[given.get("start", 0) : given.get("end")]


def _depth_to_space(node: Node, value: Tensor) -> Tensor:
    block = node.attributes["blocksize"]
    samples, channels, height, width = value.shape
    if node.attributes.get("mode", b"DCR") == b"CRD":
        return F.pixel_shuffle(value, block)
    apart = value.reshape(samples, block, block, channels // block**2, height, width)
    return apart.permute(0, 3, 4, 1, 5, 2).reshape(samples, -1, height * block, width * block)


def _space_to_depth(node: Node, value: Tensor) -> Tensor:
    block = node.attributes["blocksize"]
    samples, channels, height, width = value.shape
    apart = value.reshape(samples, channels, height // block, block, width // block, block)
    return apart.permute(0, 3, 5, 1, 2, 4).reshape(samples, -1, height // block, width // block)


ARRANGEMENTS: dict[str, Rule] = {
    "Concat": lambda node, *values: torch.cat(values, dim=node.attributes.get("axis", 0)),
    "DepthToSpace": _depth_to_space,
    "Dropout": lambda _, value, *_rest: value,
    "Expand": _expand,
    "Flatten": lambda node, value: value.reshape(
        int(np.prod(value.shape[: node.attributes.get("axis", 1)], dtype=np.int64)), -1
    ),
    "Gather": _gather,
    "Identity": lambda _, value: value,
    "Pad": _pad,
    "Reshape": _reshape,
    "Shape": _shape,
    "Size": lambda _, value: torch.tensor(value.numel()),
    "Slice": _slice,
    "SpaceToDepth": _space_to_depth,
    "Split": _split,
    "Squeeze": _squeeze,
    "Tile": lambda _, value, repeats: value.repeat(repeats.tolist()),
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
}
