"""Replace what a graph computes from constants and from shapes by constants that hold for any number of images."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lightcl_edge.errors import UsageError
from lightcl_host.graphs.graph import attribute, drop_unused, read_by, replace_all, to_tensor
from lightcl_host.graphs.module_paths import copy_scopes
from lightcl_host.graphs.runner import GraphRunner
from lightcl_host.graphs.shapes import set_batch
from lightcl_host.sources.failure_reason import failure_reason
from lightcl_host.sources.normalising.constant_parts import add_constant_parts, mixed_concatenations

if TYPE_CHECKING:
    import onnx

Array = NDArray[np.generic]
_SHAPES = frozenset({"Shape", "Size"})
#: Weights in eight bits stay in eight bits; control flow is left to the optimiser.
_LEFT = frozenset({"QuantizeLinear", "DequantizeLinear", "If", "Loop", "Scan", "RandomNormal", "RandomUniform"})
_TARGETS = frozenset({"Reshape", "Expand"})
_SHAPE_OF = "shape of "
_LARGEST = np.iinfo(np.int64).max


class TiedBatchError(UsageError):
    """The graph does not run with another number of images than it was exported for."""


def fold_shape_values(model: onnx.ModelProto, batches: tuple[int, int] = (2, 3)) -> None:
    """Run the graph with two numbers of images and write down what does not depend on the images' pixels, in place.

    What is equal in both runs becomes a constant. A side of a shape that grows with the images is left to the reshape.
    Nothing is guessed: with equal ``batches`` the result holds for that number only.

    Raises:
        TiedBatchError: when the graph does not run with these numbers.
        UsageError: when it computes with the number of images itself.
    """
    graph = model.graph
    wanted = _boundary(graph)
    constants = {*wanted, *(tensor.name for tensor in graph.initializer)}
    mixed = mixed_concatenations(graph, constants)
    beside = [name for node in mixed for name in node.input if name not in constants]
    shapes = [node.output[0] for node in graph.node if node.op_type in _TARGETS and node.input[1] in wanted]
    shapes += dict.fromkeys(beside)
    shapes += dict.fromkeys(
        node.input[0] for node in graph.node if node.op_type == "Gather" and node.input[1] in wanted
    )
    if not wanted and not shapes:
        return
    first, second = (_values(model, batch, wanted, shapes) for batch in batches)
    growing: dict[str, tuple[Array, Array]] = {}
    for name in wanted:
        one, other = first[name], second[name]
        if one.shape == other.shape and np.array_equal(one, other, equal_nan=one.dtype.kind == "f"):
            graph.initializer.append(to_tensor(one, name))
        elif one.shape != other.shape and (row := _only_row(one, other)) is not None:
            graph.initializer.append(to_tensor(row, name))
            growing[name] = (one, other)
        else:
            growing[name] = (one, other)
    constant = set(wanted)
    replace_all(graph.node, [node for node in graph.node if not constant.intersection(node.output)])
    _free_consumers(graph, growing, first, second)
    add_constant_parts(graph, {name: tuple(int(side) for side in first[_SHAPE_OF + name]) for name in beside})
    drop_unused(graph)


def _boundary(graph: onnx.GraphProto) -> list[str]:
    """Tensors that follow from constants and shapes, where something else reads them."""
    known = {tensor.name for tensor in graph.initializer}
    made: set[str] = set()
    read = {info.name for info in graph.output}
    for node in graph.node:
        read_for_values = node.input[:1] if node.op_type == "CastLike" else node.input  # the second says only a type
        computed = node.op_type in _SHAPES or all(name in known for name in read_for_values if name)
        if computed and node.op_type not in _LEFT:
            known.update(node.output)
            made.update(node.output)
        else:
            read.update(read_by(node))
    return [name for node in graph.node for name in node.output if name and name in made and name in read]


def _values(model: onnx.ModelProto, batch: int, wanted: list[str], shapes: list[str]) -> dict[str, Array]:
    """The wanted tensors, and the shapes of others, as they are with this many images."""
    import onnx

    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    graph = copy.graph
    image = set_batch(copy, batch)
    del graph.output[:], graph.value_info[:]
    for name in shapes:
        graph.node.append(onnx.helper.make_node("Shape", [name], [_SHAPE_OF + name]))
    names = [*wanted, *(_SHAPE_OF + name for name in shapes)]
    graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    drop_unused(graph)
    try:
        found = GraphRunner(copy)({graph.input[0].name: image}, names)
    except RuntimeError as error:
        raise TiedBatchError(
            f"the graph does not run with {batch} images at once: {failure_reason(error)}; "
            "export it again with a free batch axis"
        ) from error
    return {name: np.asarray(value) for name, value in found.items()}


def _only_row(one: Array, other: Array) -> Array | None:
    """The one row of a constant that was spread over the images; None where its rows differ."""
    axes = [axis for axis, sides in enumerate(zip(one.shape, other.shape, strict=False)) if sides[0] != sides[1]]
    if one.ndim != other.ndim or len(axes) != 1 or (one.dtype.kind in "iu" and one.ndim == 1):
        return None
    row = np.take(one, [0], axis=axes[0])
    return row if np.array_equal(one, np.broadcast_to(row, one.shape)) else None


def _free_consumers(
    graph: onnx.GraphProto,
    growing: Mapping[str, tuple[Array, Array]],
    first: Mapping[str, Array],
    second: Mapping[str, Array],
) -> None:
    renamed: dict[str, str] = {}
    kept = []
    given = {tensor.name for tensor in graph.initializer}
    for number, node in enumerate(graph.node):
        for index, name in enumerate(node.input):
            node.input[index] = renamed.get(name, name)
            if name not in growing or name in given:
                continue
            if node.op_type == "Gather" and index == 1 and _is_range(growing[name]):
                if growing[name][0].ndim == 1:
                    renamed[node.output[0]] = node.input[0]  # all images, each by its number
                    break
                if len(first[_SHAPE_OF + node.input[0]]) == 1:  # how as_strided is exported: all numbers in their order
                    target = _grown(*(np.array(values.shape) for values in growing[name]))
                    graph.initializer.append(to_tensor(target, f"{name}.free.{number}"))
                    node.CopyFrom(_reshape(node, f"{name}.free.{number}"))
                    continue
            shapes = (first.get(_SHAPE_OF + node.output[0]), second.get(_SHAPE_OF + node.output[0]))
            free = _free_value(node, index, growing[name], shapes)
            node.input[index] = f"{name}.free.{number}"
            graph.initializer.append(to_tensor(free, node.input[index]))
        else:
            kept.append(node)
    replace_all(graph.node, kept)
    for output in graph.output:
        output.name = renamed.get(output.name, output.name)


def _is_range(pair: tuple[Array, Array]) -> bool:
    return all(np.array_equal(values.reshape(-1), np.arange(values.size)) for values in pair)


def _reshape(node: onnx.NodeProto, target: str) -> onnx.NodeProto:
    import onnx

    made = onnx.helper.make_node("Reshape", [node.input[0], target], [node.output[0]], name=node.name)
    copy_scopes(node, made)
    return made


def _grown(one: Array, other: Array) -> Array:
    """A target of a reshape that leaves the growing side to it."""
    return np.where(one != other, -1, one).astype(np.int64)


def _free_value(
    node: onnx.NodeProto, index: int, pair: tuple[Array, Array], shapes: tuple[Array | None, Array | None]
) -> Array:
    """An input that grows with the images, as a constant that says "as many as there are"."""
    one, other = pair
    if one.shape != other.shape:
        raise _refusal(node)
    grows = one != other
    few, more = shapes
    if node.op_type == "Reshape" and few is not None and more is not None and (few != more).sum() == 1:
        replace_all(node.attribute, [entry for entry in node.attribute if entry.name != "allowzero"])
        return _grown(few, more)
    if node.op_type == "Expand":
        return np.where(grows, 1, one)
    if node.op_type == "Slice" and index == 2:  # up to the last image
        return np.where(grows, _LARGEST, one).astype(np.int64)
    if node.op_type == "Resize" and index == 3 and attribute(node, "axes") is None:
        import onnx

        node.attribute.append(onnx.helper.make_attribute("axes", np.flatnonzero(~grows).tolist()))
        return np.asarray(one[~grows])
    raise _refusal(node)


def _refusal(node: onnx.NodeProto) -> UsageError:
    return UsageError(
        f"operator {node.op_type} ({node.output[0]}) computes with the number of images; "
        "expected a network that treats each image alone"
    )
