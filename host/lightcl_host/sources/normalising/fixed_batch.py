"""Free the batch axis of a graph that was exported for a fixed number of images.

The axis is followed from the image to the logits. Row-major order says where it goes in a reshape: as many numbers lie
before it as before.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lightcl_edge.errors import UsageError
from lightcl_host.graphs.graph import attribute, integer_attribute, replace_all, to_array, to_tensor
from lightcl_host.graphs.shapes import Dims, dims_at, without_weights

if TYPE_CHECKING:
    import onnx

_ALL = np.iinfo(np.int64).max
#: These keep all axes where they are.
_BATCH_FIRST = frozenset({"Conv", "ConvTranspose", "GlobalAveragePool", "AveragePool", "MaxPool", "Gemm", "Flatten"})


def free_fixed_batch(model: onnx.ModelProto, batch: int) -> None:
    """Rewrite the constants that say ``batch``, in place. UsageError where the batch axis can't be followed."""
    graph = model.graph
    follower = _Follower(graph, dims_at(without_weights(model), batch), batch)
    kept = [node for node in list(graph.node) if follower.follow(node)]
    replace_all(graph.node, kept)
    output = graph.output[0].name
    if follower.axes.get(output) != 0:
        raise UsageError(
            f"the output {output} of shape {follower.dims.get(output)} has no row for each image; expected logits"
        )


class _Follower:
    """Where the batch axis is in each tensor."""

    def __init__(self, graph: onnx.GraphProto, dims: dict[str, Dims], batch: int) -> None:
        self.dims, self.batch, self._graph = dims, batch, graph
        self.weights = {tensor.name: to_array(tensor) for tensor in graph.initializer}
        self.dims |= {name: values.shape for name, values in self.weights.items()}
        self.axes = {graph.input[0].name: 0}
        self._renamed: dict[str, str] = {}

    def follow(self, node: onnx.NodeProto) -> bool:
        """Note the axis in the node's outputs and free its constants; False where the node does nothing."""
        for index, name in enumerate(node.input):
            node.input[index] = self._renamed.get(name, name)
        active = [name for name in node.input if name in self.axes]
        if not active:
            return True
        if any(name and name not in self.dims for name in [*active, node.output[0]]):
            raise self._refusal(node, "its shape is not known")
        axis = self._moved(node, active)
        if node.op_type == "Gather" and axis is None:
            self._renamed[node.output[0]] = node.input[0]
            return False
        self.axes.update({name: axis for name in node.output if name and axis is not None})
        if axis is not None:
            self._free(node, axis)
        return True

    def _moved(self, node: onnx.NodeProto, active: Sequence[str]) -> int | None:
        kind, first = node.op_type, active[0]
        axis, before, after = self.axes[first], self.dims[first], self.dims[node.output[0]]
        if kind == "Reshape":
            return self._by_offset(node, axis, before, after)
        if kind in ("Squeeze", "Unsqueeze"):
            return self._squeezed(node, axis, len(before), len(after))
        if kind == "Gather":
            return self._gathered(node, axis, len(before))
        if kind.startswith("Reduce"):
            return self._reduced(node, axis, len(before))
        return self._kept(node, active)

    def _kept(self, node: onnx.NodeProto, active: Sequence[str]) -> int:
        """Operators that keep all axes, in another order or spread."""
        axis, before, after = self.axes[active[0]], self.dims[active[0]], self.dims[node.output[0]]
        if node.op_type == "Transpose":
            given = attribute(node, "perm")
            order: list[int] = given if isinstance(given, list) else list(range(len(before)))[::-1]
            return order.index(axis)
        if node.op_type in _BATCH_FIRST:
            if axis:
                raise self._refusal(node, f"the images lie along axis {axis} of its input")
            return 0
        places = {len(after) - len(self.dims[name]) + self.axes[name] for name in active}
        if len(places) != 1 or len(after) < len(before):
            raise self._refusal(node, "its inputs hold the images along different axes")
        return places.pop()

    def _squeezed(self, node: onnx.NodeProto, axis: int, before: int, after: int) -> int:
        given = len(node.input) > 1 and node.input[1]
        rank = max(before, after)
        if not given:  # without axes, a batch of one would go too
            sides = self.dims[node.input[0]]
            axes = [place for place, side in enumerate(sides) if side == 1 and place != axis]
            self._set(node, 1, np.array(axes, np.int64))
        else:
            axes = [int(place) % rank for place in self.weights[node.input[1]].reshape(-1)]
        if node.op_type == "Unsqueeze":
            return [place for place in range(after) if place not in axes][axis]
        if axis in axes:
            raise self._refusal(node, "it drops the batch axis")
        return axis - sum(place < axis for place in axes)

    def _by_offset(self, node: onnx.NodeProto, axis: int, before: Dims, after: Dims) -> int:
        for place, side in enumerate(after):
            if prod(after[:place]) == prod(before[:axis]) and side % self.batch == 0:
                return place
        raise self._refusal(node, f"it turns {before} into {after}, where the images are no axis")

    def _reduced(self, node: onnx.NodeProto, axis: int, rank: int) -> int:
        given = attribute(node, "axes")
        if given is None and len(node.input) > 1 and node.input[1] in self.weights:
            given = self.weights[node.input[1]].reshape(-1).tolist()
        axes = {int(place) % rank for place in given} if isinstance(given, list) else set(range(rank))
        if axis in axes:
            raise self._refusal(node, "it combines the images of a batch")
        return axis if integer_attribute(node, "keepdims", 1) else axis - sum(place < axis for place in axes)

    def _gathered(self, node: onnx.NodeProto, axis: int, rank: int) -> int | None:
        """None where the node takes all images in their order."""
        along = integer_attribute(node, "axis", 0) % rank
        if node.input[0] not in self.axes:
            raise self._refusal(node, "it looks numbers up by the image")
        indices = self.weights.get(node.input[1])
        if along == axis:
            if indices is not None and np.array_equal(indices, np.arange(self.batch)):
                return None
            raise self._refusal(node, "it picks one of the images")
        return axis + (len(self.dims[node.input[1]]) - 1 if along < axis else 0)

    def _free(self, node: onnx.NodeProto, axis: int) -> None:
        """Rewrite the node's constants that say how many images there are."""
        out = self.dims[node.output[0]]
        if node.op_type == "Reshape":
            self._set(node, 1, np.array([-1 if place == axis else side for place, side in enumerate(out)], np.int64))
            replace_all(node.attribute, [entry for entry in node.attribute if entry.name != "allowzero"])
        elif node.op_type == "Expand":
            target = self.weights[node.input[1]].copy()
            target[axis - len(out)] = 1
            self._set(node, 1, target)
        elif node.op_type == "Resize" and len(node.input) > 3 and attribute(node, "axes") is None:
            import onnx

            node.attribute.append(onnx.helper.make_attribute("axes", [i for i in range(len(out)) if i != axis]))
            self._set(node, 3, np.delete(self.weights[node.input[3]], axis))
        elif self.batch > 1 and node.op_type not in _BATCH_FIRST:
            self._one_row(node, axis, len(out))

    def _one_row(self, node: onnx.NodeProto, axis: int, rank: int) -> None:
        """A constant with equal rows for all images keeps one of them."""
        for index, name in enumerate(node.input):
            values = self.weights.get(name)
            place = axis - rank + (0 if values is None else values.ndim)
            if values is not None and place >= 0 and values.dtype.kind == "f" and values.shape[place] == self.batch:
                row = np.take(values, [0], axis=place)
                if np.array_equal(values, np.broadcast_to(row, values.shape)):
                    self._set(node, index, row)

    def _set(self, node: onnx.NodeProto, index: int, values: NDArray[np.generic]) -> None:
        name = f"{node.output[0]}.free.{index}"
        while len(node.input) <= index:
            node.input.append("")
        self._graph.initializer.append(to_tensor(values, name))
        self.weights[name], self.dims[name] = values, values.shape
        node.input[index] = name

    def _refusal(self, node: onnx.NodeProto, why: str) -> UsageError:
        return UsageError(
            f"the batch axis can't be freed: operator {node.op_type} ({node.output[0]}): {why}; "
            "expected a network that treats each image alone. Export it in evaluation mode with a free batch axis"
        )
