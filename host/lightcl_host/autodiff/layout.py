"""Lets images stay channels first, ``(channels, samples, height, width)``, where that saves transposes.

Products of planes read and write images channels first, the head's other operators samples first. What lies between two
products is mostly element-wise and does not care. Such operators are taken over together, as far as they share
images: all images of a group change their order if that moves fewer numbers.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from lightcl_host.autodiff.sgd_update import ancestors_of

#: The permutation that exchanges samples and channels. It undoes itself.
CHANNELS_FIRST = (1, 0, 2, 3)
_ELEMENTWISE = frozenset(
    {"Abs", "Add", "And", "Cast", "Clip", "Div", "Equal", "Erf", "Exp", "Greater", "GreaterOrEqual", "HardSigmoid"}
    | {"HardSwish", "Identity", "LeakyRelu", "Less", "LessOrEqual", "Log", "Max", "Min", "Mul", "Neg", "Not", "Or"}
    | {"Pow", "Reciprocal", "Relu", "Sigmoid", "Sqrt", "Sub", "Sum", "Tanh", "Where"}
)
#: Operators that a constant input tells what to do with each axis, and which input that is.
_BY_AXIS = {"ReduceMean": 1, "ReduceSum": 1, "Slice": 3, "Pad": 1, "Expand": 1}
#: Operators whose axis is an attribute; those along the channels are taken over.
_ALONG_AXIS = frozenset({"Concat", "Gather"})
_REDUCTIONS = frozenset({"ReduceMean", "ReduceSum"})


def save_transposes(model: onnx.ModelProto, blind: Collection[str]) -> None:
    """Reorder images in a graph with static inferred shapes, in place. Its results stay what they were.

    ``blind`` are tensors that are made of an image for its existence alone, whatever its order.
    """
    graph = model.graph
    shapes = sides_of(graph)
    shapes |= {tensor.name: list(tensor.dims) for tensor in graph.initializer}
    lists = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer if len(tensor.dims) == 1}
    outputs = [value.name for value in graph.output]
    layout = _Layout(graph.node, shapes, lists, blind, outputs)
    nodes = layout.rewritten()
    needed = ancestors_of(nodes, outputs)
    del graph.node[:]
    graph.node.extend(node for node in nodes if needed.intersection(node.output))
    graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in layout.constants.items())
    kept = [tensor for tensor in graph.initializer if tensor.name in needed]
    del graph.initializer[:]
    graph.initializer.extend(kept)


def sides_of(graph: onnx.GraphProto) -> dict[str, list[int]]:
    """Shapes of the inferred tensors."""
    values = (*graph.input, *graph.value_info, *graph.output)
    return {value.name: [side.dim_value for side in value.type.tensor_type.shape.dim] for value in values}


class _Layout:
    """The nodes of one graph, and which of its images change their order.

    Args:
        nodes: in the order in which they run.
        shapes: of every tensor.
        lists: values of the constants of one axis.
        blind: as in :func:`save_transposes`.
        outputs: of the graph.
    """

    def __init__(
        self,
        nodes: Sequence[onnx.NodeProto],
        shapes: Mapping[str, Sequence[int]],
        lists: Mapping[str, NDArray[Any]],
        blind: Collection[str],
        outputs: Collection[str],
    ) -> None:
        self._nodes, self._shapes, self._lists, self._blind, self._outputs = nodes, shapes, lists, blind, outputs
        self.constants: dict[str, NDArray[Any]] = {}  # new ones
        self._parent: dict[str, str] = {}
        self._free = [self._is_free(node) for node in nodes]
        for node, free in zip(nodes, self._free, strict=True):
            images = [name for name in (*node.input, *node.output) if self._is_image(name)]
            if free or _is_turn(node):
                for name in images:
                    self._parent[self._group(name)] = self._group(images[0] if free else name)
        self._turned = self._worth_turning()

    def _rank(self, name: str) -> int:
        return len(self._shapes.get(name, ()))

    def _is_image(self, name: str) -> bool:
        """Whether the order of its axes makes a difference."""
        return self._rank(name) == 4 and min(self._shapes[name][:2]) > 1

    def _is_free(self, node: onnx.NodeProto) -> bool:
        """Whether the node can take images of the other order, and then gives such images or the same result."""
        kind, result = node.op_type, node.output[0]
        if kind in _BY_AXIS:
            at = _BY_AXIS[kind]
            values = self._lists.get(node.input[at]) if len(node.input) > at else None
            if values is None or self._rank(node.input[0]) != 4 or (kind == "Pad" and len(node.input) > 3):
                return False
            return kind != "Expand" or len(values) == 4
        if self._rank(result) != 4 or len(node.output) > 1:
            return False
        if kind in _ALONG_AXIS:
            fitting = [self._rank(name) for name in node.input] in ([4] * len(node.input), [4, 1])
            return fitting and [item.i for item in node.attribute] == [1]
        fitting = all(self._rank(name) in (0, 1, 2, 4) for name in node.input)
        return kind == "GlobalAveragePool" or (kind in _ELEMENTWISE and fitting)

    def _group(self, name: str) -> str:
        while self._parent.setdefault(name, name) != name:
            name = self._parent[name]
        return name

    def _worth_turning(self) -> set[str]:
        """The images of all groups that move fewer numbers in the other order."""
        saved: defaultdict[str, int] = defaultdict(int)  # group -> numbers
        made, read = set[str](), set(self._outputs)

        def count(names: Collection[str], times: int) -> None:
            for name in self._parent.keys() & set(names):
                saved[self._group(name)] += times * math.prod(self._shapes[name])

        for node, free in zip(self._nodes, self._free, strict=True):
            made.update(node.output)
            if _is_turn(node):
                count([node.input[0]], 1)
                count(node.output, 1)
            elif not free:
                count(node.output, -1)
                if node.output[0] not in self._blind:
                    read.update(node.input)
        count(self._parent.keys() - made, -1)
        count(read, -1)
        return {name for name in self._parent if saved[self._group(name)] > 0}

    def rewritten(self) -> list[onnx.NodeProto]:
        """The nodes, with some that nothing needs any more."""
        made = {name for node in self._nodes for name in node.output}
        orders = _Orders(self._shapes.keys() - made)
        for node, free in zip(self._nodes, self._free, strict=True):
            source, result = orders.now(node.input[0]) if node.input else "", node.output[0]
            touched = not self._turned.isdisjoint((*map(orders.now, node.input), result))
            if free and touched:
                self._turn_over(node, orders)
            elif _is_turn(node) and result in self._turned:
                orders.turned[result] = orders.own(source)
            elif _is_turn(node) and source in self._turned:
                orders.renamed[result] = orders.other(source)
                if result in self._outputs:
                    orders.nodes.append(helper.make_node("Identity", [orders.other(source)], [result]))
            else:
                either = result in self._blind
                inputs = [orders.any(name) if either else orders.own(name) for name in map(orders.now, node.input)]
                orders.nodes.append(_with(node, inputs, node.output))
                orders.plain.update(node.output)
        for name in self._outputs:
            orders.own(name)
        return orders.nodes

    def _turn_over(self, node: onnx.NodeProto, orders: _Orders) -> None:
        """Emit a node for images of the other order."""
        result = node.output[0]
        inputs = [orders.other(name) if self._rank(name) == 4 else name for name in map(orders.now, node.input)]
        if node.op_type in _BY_AXIS:
            at = _BY_AXIS[node.op_type]
            values = self._lists[node.input[at]]
            if node.op_type in ("Pad", "Expand"):
                values = values.reshape(-1, 4)[:, CHANNELS_FIRST].ravel()
            else:
                values = np.array([CHANNELS_FIRST[value] for value in values], values.dtype)
            inputs[at] = "_".join(map(str, ["channels_first/axes", values.dtype, *values]))
            self.constants[inputs[at]] = values
        if self._rank(result) != 4:
            self._reduce(node, inputs, orders)
            return
        orders.turned[result] = _other(result)
        turned = _with(node, inputs, [_other(result)])
        if node.op_type in _ALONG_AXIS:
            turned.attribute[0].i = CHANNELS_FIRST[1]
        orders.nodes.append(turned)
        if not self._is_image(result):
            orders.own(result)

    def _reduce(self, node: onnx.NodeProto, inputs: Sequence[str], orders: _Orders) -> None:
        """Emit a reduction to fewer axes, whose result keeps its order."""
        result, axes = node.output[0], self._lists[node.input[_BY_AXIS[node.op_type]]]
        orders.plain.add(result)
        if not {int(axis) % 4 for axis in axes}.isdisjoint((0, 1)):
            orders.nodes.append(_with(node, inputs, [result]))
            return
        order = [1, 0, *range(2, self._rank(result))]
        orders.nodes.append(_with(node, inputs, [_other(result)]))
        orders.nodes.append(helper.make_node("Transpose", [_other(result)], [result], perm=order))


class _Orders:
    """The rewritten nodes so far, and in which order there is each tensor after them.

    Attributes:
        plain: tensors that there are as they were.
        turned: image -> the same in the other order.
        renamed: tensor -> one with the same values.
    """

    def __init__(self, plain: Collection[str]) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.plain, self.turned, self.renamed = set(plain), dict[str, str](), dict[str, str]()

    def now(self, name: str) -> str:
        """What a tensor is called now."""
        return self.renamed.get(name, name)

    def own(self, name: str) -> str:
        """The tensor as it was, turned back where it must be."""
        if name in self.turned and name not in self.plain:
            self.nodes.append(_turn(self.turned[name], name))
            self.plain.add(name)
        return name

    def other(self, name: str) -> str:
        """The image in the other order, turned where it must be."""
        if name not in self.turned:
            self.turned[name] = _other(name)
            self.nodes.append(_turn(name, self.turned[name]))
        return self.turned[name]

    def any(self, name: str) -> str:
        """The tensor in an order in which there is one."""
        return name if name in self.plain else self.turned.get(name, name)


def _is_turn(node: onnx.NodeProto) -> bool:
    return node.op_type == "Transpose" and tuple(node.attribute[0].ints) == CHANNELS_FIRST


def _other(name: str) -> str:
    return f"{name}/channels_first"


def _turn(source: str, result: str) -> onnx.NodeProto:
    return helper.make_node("Transpose", [source], [result], perm=list(CHANNELS_FIRST))


def _with(node: onnx.NodeProto, inputs: Sequence[str], outputs: Sequence[str]) -> onnx.NodeProto:
    changed = onnx.NodeProto()
    changed.CopyFrom(node)
    changed.input[:] = inputs
    changed.output[:] = outputs
    return changed
