"""One ONNX graph, joined from the graphs of a bundle and a few operators, without the onnx package.

Field numbers are those of ``onnx.proto``: ModelProto.ir_version = 1, .producer_name = 2, .graph = 7, .opset_import = 8,
.metadata_props = 14, .functions = 25; GraphProto.node = 1, .name = 2, .initializer = 5, .input = 11, .output = 12,
.value_info = 13; NodeProto.input = 1, .output = 2, .name = 3, .op_type = 4, .attribute = 5; AttributeProto.name = 1,
.i = 3, .g = 6, .graphs = 11, .type = 20; TensorProto.dims = 1, .data_type = 2, .name = 8, .raw_data = 9.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lightcl_edge.errors import BundleError
from lightcl_edge.files.protobuf import Parts, bytes_field, fields, message_field, number_field

FLOAT, INT64 = 1, 7  # TensorProto.DataType
_INT = 2  # AttributeProto.AttributeType
_TYPES = {np.dtype(np.float32): FLOAT, np.dtype(np.int64): INT64}
#: Where the names of values, nodes and tensors stand, and which fields are messages with more of them.
_NAMES = {"node": {1, 2, 3}, "tensor": {8}, "value": {1}}
_MESSAGES = {
    "graph": {1: "node", 5: "tensor", 11: "value", 12: "value", 13: "value"},
    "node": {5: "attribute"},
    "attribute": {6: "graph", 11: "graph"},
}
_MAX_DEPTH = 32


@dataclass(frozen=True)
class _Node:
    inputs: set[str]
    outputs: set[str]
    parts: Parts


class JoinedGraph:
    """Nodes in the order in which they run, and the constants that they use."""

    def __init__(self) -> None:
        self._nodes: list[_Node] = []
        self._tensors: dict[str, Parts] = {}
        self._opsets: dict[str, int] = {}
        self._functions: dict[bytes, None] = {}
        self._ir_version = 0

    def add_file(self, path: Path, prefix: str, replaced: Mapping[str, NDArray[np.float32]] | None = None) -> None:
        """Add the graph of a file, each of its names with a prefix.

        Args:
            path: of the file; it stays mapped, so it must not change until the joined file is written.
            replaced: values that stand in place of initialisers of these names.

        Raises:
            BundleError: when it is no ONNX file, lacks a replaced initialiser, or uses other operator versions.
        """
        with path.open("rb") as file:
            data = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        replaced = replaced or {}
        try:
            found = self._add_model(data, prefix, replaced)
        except ValueError as error:
            raise BundleError(f"{path.name} is not a readable ONNX file ({error}); export the bundle again") from error
        if missing := sorted(set(replaced) - found):
            raise BundleError(f"{path.name} has no weights {missing[:12]} that were learned; export the bundle again")
        for name, array in replaced.items():
            self.constant(prefix + name, array)

    def _add_model(self, data: memoryview, prefix: str, replaced: Mapping[str, object]) -> set[str]:
        """Add all but the replaced initialisers, and give the names of those found."""
        found: set[str] = set()
        for number, value, content, _ in fields(data):
            if number == 1:
                self._ir_version = max(self._ir_version, value)
            elif number == 8:
                self._add_opset(content)
            elif number == 25:
                self._functions[bytes(content)] = None
            elif number == 7:
                found |= self._add_graph(content, prefix, replaced)
        return found

    def _add_graph(self, graph: memoryview, prefix: str, replaced: Mapping[str, object]) -> set[str]:
        found: set[str] = set()
        for number, _, content, _ in fields(graph):
            if number == 1:
                inputs = {prefix + name for name in _inputs(content, 0)}
                outputs = {prefix + str(each.content, "utf-8") for each in fields(content) if each.number == 2}
                self._nodes.append(_Node(inputs, outputs, _prefixed(content, "node", prefix.encode(), 0)))
            elif number == 5:
                name = next(str(each.content, "utf-8") for each in fields(content) if each.number == 8)
                if name in replaced:
                    found.add(name)
                else:
                    self._tensors[prefix + name] = _prefixed(content, "tensor", prefix.encode(), 0)
        return found

    def _add_opset(self, content: memoryview) -> None:
        domain, version = "", 0
        for number, value, text, _ in fields(content):
            domain, version = (str(text, "utf-8"), version) if number == 1 else (domain, value)
        domain = "" if domain == "ai.onnx" else domain
        if self._opsets.setdefault(domain, version) != version:
            raise BundleError(
                f"trunk and head use the operators {domain or 'ai.onnx'} in versions {self._opsets[domain]} and "
                f"{version}, expected one; export the bundle again"
            )

    def constant(self, name: str, value: NDArray[np.generic] | np.generic) -> str:
        """Add a constant, float32 or int64; gives its name."""
        array = np.asarray(value, order="C")
        sides = [part for side in array.shape for part in number_field(1, side)]
        raw = array.reshape(-1).view(np.uint8).data
        kind = number_field(2, _TYPES[array.dtype])
        self._tensors[name] = [*sides, *kind, *bytes_field(8, name), *bytes_field(9, raw)]
        return name

    def operator(self, kind: str, inputs: list[str], output: str, **numbers: int) -> str:
        """Add an ONNX operator with one output and whole numbers as attributes; gives the output's name."""
        parts = [part for name in inputs for part in bytes_field(1, name)]
        parts += [*bytes_field(2, output), *bytes_field(3, output), *bytes_field(4, kind)]
        for name, value in numbers.items():
            parts += message_field(5, [*bytes_field(1, name), *number_field(3, value), *number_field(20, _INT)])
        self._nodes.append(_Node(set(inputs), {output}, parts))
        return output

    def model(
        self, inputs: Mapping[str, list[str | int]], outputs: Mapping[str, list[str | int]], metadata: Mapping[str, str]
    ) -> Parts:
        """The ONNX file, with what the outputs need and nothing else.

        Args:
            inputs: float32 inputs with their shapes; a side with a name is free.
            outputs: as inputs.
        """
        nodes, needed = self._needed(set(outputs))
        graph = [part for node in nodes for part in message_field(1, node.parts)]
        graph += bytes_field(2, "learned")
        graph += [part for name, tensor in self._tensors.items() if name in needed for part in message_field(5, tensor)]
        for number, values in ((11, inputs), (12, outputs)):
            graph += [part for name, shape in values.items() for part in message_field(number, _value(name, shape))]
        model = [*number_field(1, self._ir_version), *bytes_field(2, "lightcl-edge"), *message_field(7, graph)]
        for domain, version in self._opsets.items():
            model += message_field(8, [*bytes_field(1, domain), *number_field(2, version)])
        for key, text in metadata.items():
            model += message_field(14, [*bytes_field(1, key), *bytes_field(2, text)])
        return model + [part for function in self._functions for part in bytes_field(25, function)]

    def _needed(self, wanted: set[str]) -> tuple[list[_Node], set[str]]:
        """The nodes that these values need, in order, and all values they use."""
        nodes = []
        for node in reversed(self._nodes):
            if node.outputs & wanted:
                nodes.append(node)
                wanted = wanted | node.inputs
        return nodes[::-1], wanted


def _prefixed(data: memoryview, kind: str, prefix: bytes, depth: int) -> Parts:
    """A message with a prefix to all names in it; a name that is empty stays so."""
    _refuse_deep(depth)
    parts: Parts = []
    for number, _, content, whole in fields(data):
        if number in _NAMES.get(kind, ()) and len(content):
            parts += bytes_field(number, prefix + bytes(content))
        elif inner := _MESSAGES.get(kind, {}).get(number):
            parts += message_field(number, _prefixed(content, inner, prefix, depth + 1))
        else:
            parts.append(data[whole])
    return parts


def _inputs(node: memoryview, depth: int) -> Iterator[str]:
    """Names of all values that a node uses, also inside its own graphs."""
    _refuse_deep(depth)
    for number, _, content, _ in fields(node):
        if number == 1 and len(content):
            yield str(content, "utf-8")
        elif number == 5:
            graphs = (each.content for each in fields(content) if each.number in _MESSAGES["attribute"])
            inner = (each for graph in graphs for each in fields(graph))
            for each in inner:
                if each.number == 1:
                    yield from _inputs(each.content, depth + 1)
                elif each.number == 12:  # a graph may give a value from outside as its result
                    yield from (str(name.content, "utf-8") for name in fields(each.content) if name.number == 1)


def _refuse_deep(depth: int) -> None:
    if depth > _MAX_DEPTH:
        raise ValueError(f"nested deeper than {_MAX_DEPTH} messages")


def _value(name: str, shape: list[str | int]) -> Parts:
    """A ValueInfoProto of a float32 tensor."""
    sides: Parts = []
    for side in shape:
        sides += message_field(1, number_field(1, side) if isinstance(side, int) else bytes_field(2, side))
    tensor = [*number_field(1, FLOAT), *message_field(2, sides)]
    return [*bytes_field(1, name), *message_field(2, message_field(1, tensor))]
