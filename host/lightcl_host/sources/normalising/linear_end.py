"""The end of a network as one linear layer, however its exporter writes it.

Sums, scales and averages of linear layers and 1 x 1 convolutions before a mean are one linear layer. An end of any
other kind keeps its form, and a linear layer that changes nothing follows it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lightcl_edge.errors import UsageError
from lightcl_host.graphs.graph import (
    GraphView,
    attribute,
    drop_unused,
    integer_attribute,
    to_array,
    to_tensor,
)
from lightcl_host.graphs.module_paths import copy_module_path, module_path
from lightcl_host.graphs.operators import VIEW_OPERATORS

if TYPE_CHECKING:
    import onnx

Doubles = NDArray[np.float64]
_COMBINING = frozenset({"Add", "Sub", "Mul", "Div", "Mean", "Sum"})
_NOTHING = frozenset({"Identity", "Dropout", "Cast"})
_POOLS = frozenset({"GlobalAveragePool", "ReduceMean"})
#: A linear layer that changes nothing has a weight for each pair of classes.
_MOST_CLASSES = 4096


@dataclass(frozen=True)
class _Term:
    """``weight @ source + bias``; ``mean`` where the mean of the map ``source`` is meant."""

    source: str
    weight: Doubles  # shape ``(classes, width)``
    bias: Doubles  # shape ``(classes,)``
    mean: bool = False

    def scaled(self, factor: Doubles) -> _Term:
        return _Term(self.source, self.weight * factor.reshape(-1, 1), self.bias * factor, self.mean)


def end_in_linear_layer(model: onnx.ModelProto) -> str:
    """Let the graph end in a ``Gemm`` with constant weights, in place; returns ``""``, or what the end was instead.

    Args:
        model: shape-inferred; its shapes are out of date afterwards.

    Raises:
        UsageError: when the output is no vector for each image.
    """
    graph, view = model.graph, GraphView(model)
    output = graph.output[0].name
    shape = [side for side in view.shapes.get(output, ()) if side != 1] or [1]
    if output not in view.shapes or len(shape) != 1:
        found = view.dims.get(output)
        raise UsageError(f"the output {output} has shape {found} for one image; expected a vector of logits")
    last = view.source(output)
    if last is not None and _is_plain(view, last):
        return ""
    terms = _Terms(view).of(output)
    added = [] if terms is None else _gemm_of(graph, view, terms)
    if not added:
        if shape[0] > _MOST_CLASSES:
            raise UsageError(f"the output {output} has {shape[0]} numbers; expected at most {_MOST_CLASSES} classes")
        added = _identity(graph, view, output, shape[0])
        kind = "nothing" if last is None else f"{last.op_type} ({output})"
    else:
        kind = ""
    path = "" if last is None else module_path(last)
    for node in added:
        copy_module_path(path, node)
    graph.node.extend(added)
    graph.output[0].name = added[-1].output[0]
    drop_unused(graph)
    return kind


def _is_plain(view: GraphView, node: onnx.NodeProto) -> bool:
    constant = all(name in view.weights for name in node.input[1:] if name)
    return node.op_type == "Gemm" and not integer_attribute(node, "transA", 0) and constant


def _identity(graph: onnx.GraphProto, view: GraphView, output: str, classes: int) -> list[onnx.NodeProto]:
    import onnx

    graph.initializer.append(to_tensor(np.eye(classes, dtype=np.float32), "unchanged.weight"))
    flat = [] if len(view.shapes[output]) == 1 else [onnx.helper.make_node("Flatten", [output], ["flat"])]
    return [*flat, onnx.helper.make_node("Gemm", [flat[0].output[0] if flat else output, "unchanged.weight"], ["end"])]


def _gemm_of(graph: onnx.GraphProto, view: GraphView, terms: list[_Term]) -> list[onnx.NodeProto]:
    """Terms of one source are added up; several sources are put side by side. Empty where widths do not fit."""
    import onnx

    merged: dict[tuple[str, bool], _Term] = {}
    for term in terms:
        known = merged.get((term.source, term.mean))
        weight = term.weight if known is None else known.weight + term.weight
        merged[term.source, term.mean] = _Term(term.source, weight, term.bias, term.mean)
    bias = np.sum([term.bias for term in terms], axis=0)
    nodes, sources = [], []
    for number, term in enumerate(merged.values()):
        name = term.source
        if view.elements(name) != term.weight.shape[1] and not term.mean:
            return []
        if term.mean:
            nodes.append(onnx.helper.make_node("GlobalAveragePool", [name], [f"end.mean.{number}"]))
            name = nodes[-1].output[0]
        if term.mean or len(view.shapes[term.source]) != 1:
            nodes.append(onnx.helper.make_node("Flatten", [name], [f"end.flat.{number}"]))
            name = nodes[-1].output[0]
        sources.append(name)
    if len(sources) > 1:
        nodes.append(onnx.helper.make_node("Concat", sources, ["end.sources"], axis=1))
        sources = ["end.sources"]
    weight = np.concatenate([term.weight for term in merged.values()], axis=1).astype(np.float32)
    graph.initializer.extend([to_tensor(weight, "end.weight"), to_tensor(bias.astype(np.float32), "end.bias")])
    nodes.append(onnx.helper.make_node("Gemm", [sources[0], "end.weight", "end.bias"], ["end"], transB=1))
    return nodes


def _integers(node: onnx.NodeProto, name: str) -> list[int]:
    found = attribute(node, name)
    return found if isinstance(found, list) else []


class _Terms:
    """Finds the linear layers of which a tensor is the sum."""

    def __init__(self, view: GraphView) -> None:
        self._view = view

    def of(self, tensor: str) -> list[_Term] | None:
        """None where the tensor is no sum of linear layers."""
        node = self._view.source(tensor)
        if node is None:
            return None
        kind = node.op_type
        if kind in _NOTHING or (kind in VIEW_OPERATORS and self._vector(node.input[0])):
            return self.of(node.input[0])
        if kind in VIEW_OPERATORS | _POOLS:
            return self._pooled(node)
        layers = {"Gemm": self._linear, "MatMul": self._linear, "Conv": self._convolution}
        if kind in _COMBINING:
            return self._combined(node)
        return layers[kind](node) if kind in layers else None

    def _vector(self, tensor: str) -> bool:
        """Whether it is a vector for each image, perhaps as a map of one position."""
        shape = self._view.shapes.get(tensor, ())
        return bool(shape) and shape[0] == self._view.elements(tensor)

    def _constant(self, name: str) -> Doubles | None:
        found = self._view.weights.get(name)
        return None if found is None else to_array(found).astype(np.float64)

    def _linear(self, node: onnx.NodeProto) -> list[_Term] | None:
        weight = self._constant(node.input[1])
        if weight is None or weight.ndim != 2 or len(self._view.shapes.get(node.input[0], ())) != 1:
            return None
        if not integer_attribute(node, "transB", 0):
            weight = weight.T
        factors = {entry.name: entry.f for entry in node.attribute}
        bias = np.zeros(len(weight))
        if len(node.input) > 2 and node.input[2]:
            constant = self._constant(node.input[2])
            if constant is None:
                return None
            bias = bias + constant.reshape(-1) * factors.get("beta", 1.0)
        if integer_attribute(node, "transA", 0):
            return None
        return [_Term(node.input[0], weight * factors.get("alpha", 1.0), bias)]

    def _convolution(self, node: onnx.NodeProto) -> list[_Term] | None:
        """A convolution whose kernel covers its whole input."""
        kernel = self._constant(node.input[1])
        shape = self._view.shapes.get(node.input[0], ())
        plain = not any(_integers(node, "pads")) and integer_attribute(node, "group", 1) == 1
        if kernel is None or not plain or kernel.shape[1:] != shape:
            return None
        return [_Term(node.input[0], kernel.reshape(len(kernel), -1), self._bias(node, len(kernel)))]

    def _bias(self, node: onnx.NodeProto, rows: int) -> Doubles:
        constant = self._constant(node.input[2]) if len(node.input) > 2 and node.input[2] else None
        return np.zeros(rows) if constant is None else constant

    def _pooled(self, node: onnx.NodeProto) -> list[_Term] | None:
        """The mean over the map of a 1 x 1 convolution is the convolution of the mean."""
        tensor, pooled = node.output[0], False
        made: onnx.NodeProto | None = node
        while made is not None and made.op_type in VIEW_OPERATORS | _POOLS | _NOTHING:
            if made.op_type in _POOLS:
                pooled = True
            elif pooled:
                return None
            tensor = made.input[0]
            made = self._view.source(tensor)
        if made is None or made.op_type != "Conv" or not pooled:
            return None
        kernel = self._constant(made.input[1])
        shape, classes = self._view.shapes.get(tensor, ()), self._view.elements(node.output[0])
        if kernel is None or kernel.shape[2:] != (1, 1) or len(shape) != 3 or shape[0] != classes:
            return None
        if any(_integers(made, "pads")) or set(_integers(made, "strides")) - {1}:
            return None
        if integer_attribute(made, "group", 1) != 1 or made.input[0] not in self._view.shapes:
            return None
        return [_Term(made.input[0], kernel.reshape(classes, -1), self._bias(made, classes), mean=True)]

    def _combined(self, node: onnx.NodeProto) -> list[_Term] | None:
        constants = [self._constant(name) for name in node.input]
        if len(node.input) == 2 and (constants[0] is None) != (constants[1] is None):
            return self._with_constant(node, constants)
        if any(constant is not None for constant in constants) or node.op_type in ("Mul", "Div"):
            return None
        found: list[_Term] = []
        for index, name in enumerate(node.input):
            terms = self.of(name)
            if terms is None:
                return None
            factor = 1.0 / len(node.input) if node.op_type == "Mean" else 1.0
            if node.op_type == "Sub" and index:
                factor = -1.0
            found += [term.scaled(np.full(1, factor)) for term in terms]
        return found

    def _with_constant(self, node: onnx.NodeProto, constants: list[Doubles | None]) -> list[_Term] | None:
        place = 0 if constants[0] is None else 1
        terms, constant = self.of(node.input[place]), constants[1 - place]
        if terms is None or constant is None:
            return None
        values = constant.reshape(-1)
        if len(values) not in (1, len(terms[0].bias)):
            return None
        if node.op_type == "Mul" or (node.op_type == "Div" and place == 0):
            return [term.scaled(values if node.op_type == "Mul" else 1 / values) for term in terms]
        if node.op_type == "Div":
            return None
        sign = -1.0 if node.op_type == "Sub" else 1.0
        if place == 1 and node.op_type == "Sub":
            terms, sign = [term.scaled(np.full(1, -1.0)) for term in terms], 1.0
        first = terms[0]
        return [_Term(first.source, first.weight, first.bias + sign * values, first.mean), *terms[1:]]
