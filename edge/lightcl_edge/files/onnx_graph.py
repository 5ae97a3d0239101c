"""Read an ONNX graph without the onnx package: nodes, attributes, initialisers, inputs and outputs.

Only what :mod:`lightcl_edge.learning.engines.torch_graph` needs; field numbers are those of ``onnx.proto``.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lightcl_edge.errors import BundleError
from lightcl_edge.files.onnx_wire import BYTES, VARINT, Field, fields_of

_DTYPES = {1: "<f4", 2: "|u1", 3: "|i1", 6: "<i4", 7: "<i8", 9: "|b1", 10: "<f2", 11: "<f8"}
_MAX_RANK = 8


@dataclass(frozen=True)
class Node:
    """One operator of a graph.

    Attributes:
        operator: its type.
        inputs: tensor names; empty for an input that is left out.
        outputs: tensor names.
        attributes: name -> int, float, text, or a list of ints or floats.
    """

    operator: str
    inputs: list[str]
    outputs: list[str]
    attributes: dict[str, object]

    def integer(self, name: str, default: int) -> int:
        """An integer attribute."""
        value = self.attributes.get(name, default)
        return value if isinstance(value, int) else default

    def number(self, name: str, default: float) -> float:
        """A number attribute."""
        value = self.attributes.get(name, default)
        return float(value) if isinstance(value, int | float) else default

    def integers(self, name: str, default: list[int]) -> list[int]:
        """A list of integers."""
        value = self.attributes.get(name)
        return [int(item) for item in value] if isinstance(value, list) else list(default)

    def text(self, name: str, default: str) -> str:
        """A text attribute."""
        value = self.attributes.get(name, default)
        return value if isinstance(value, str) else default


@dataclass(frozen=True)
class Graph:
    """A graph in execution order.

    Attributes:
        nodes: its operators.
        initializers: name -> array.
        inputs: names of what must be fed.
        outputs: names of what it gives.
    """

    nodes: list[Node]
    initializers: dict[str, NDArray[np.generic]]
    inputs: list[str]
    outputs: list[str]


def read_graph(path: Path) -> Graph:
    """Read an ONNX file.

    Args:
        path: the file.

    Returns:
        Its main graph.

    Raises:
        BundleError: when it is not readable ONNX.
    """
    try:
        data = memoryview(path.read_bytes())
        body = next(field.content for field in fields_of(data) if field.number == 7)
        return _graph(body)
    except (ValueError, IndexError, KeyError, StopIteration, OSError, OverflowError, TypeError, struct.error) as error:
        raise BundleError(f"{path.name} is not a readable ONNX file ({error}); export the bundle again") from error


def input_names(path: Path) -> list[str]:
    """The names of a graph's inputs and initialisers that are declared as such, without reading the rest.

    Args:
        path: an ONNX file.

    Returns:
        The names in the file's order.

    Raises:
        BundleError: when it is not readable ONNX.
    """
    try:
        data = memoryview(path.read_bytes())
        body = next(field.content for field in fields_of(data) if field.number == 7)
        return [_first_text(field.content, 1) for field in fields_of(body) if field.number == 11]
    except (ValueError, StopIteration, OSError) as error:
        raise BundleError(f"{path.name} is not a readable ONNX file ({error}); export the bundle again") from error


def _graph(data: memoryview) -> Graph:
    nodes: list[Node] = []
    initializers: dict[str, NDArray[np.generic]] = {}
    inputs: list[str] = []
    outputs: list[str] = []
    for field in fields_of(data):
        if field.number == 1:
            nodes.append(_node(field.content))
        elif field.number == 5:
            name, array = _tensor(field.content)
            initializers[name] = array
        elif field.number in (11, 12):
            (inputs if field.number == 11 else outputs).append(_first_text(field.content, 1))
    return Graph(nodes, initializers, [name for name in inputs if name not in initializers], outputs)


def _first_text(data: memoryview, number: int) -> str:
    return next((bytes(field.content).decode() for field in fields_of(data) if field.number == number), "")


def _node(data: memoryview) -> Node:
    inputs: list[str] = []
    outputs: list[str] = []
    operator = ""
    attributes: dict[str, object] = {}
    for field in fields_of(data):
        if field.number == 1:
            inputs.append(bytes(field.content).decode())
        elif field.number == 2:
            outputs.append(bytes(field.content).decode())
        elif field.number == 4:
            operator = bytes(field.content).decode()
        elif field.number == 5:
            name, value = _attribute(field.content)
            attributes[name] = value
    return Node(operator, inputs, outputs, attributes)


def _signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value


def _integers(field: Field) -> list[int]:
    """A repeated integer field, packed or not."""
    if field.wire == VARINT:
        return [_signed(field.value)]
    values: list[int] = []
    content, at = field.content, 0
    while at < len(content):
        value = shift = 0
        while True:
            byte = content[at]
            value |= (byte & 0x7F) << shift
            at, shift = at + 1, shift + 7
            if byte < 0x80:
                break
        values.append(_signed(value & (2**64 - 1)))
    return values


def _floats(field: Field) -> list[float]:
    return [float(value) for value in np.frombuffer(field.content, "<f4")]


def _attribute(data: memoryview) -> tuple[str, object]:
    name = ""
    value: float | int | str | None = None
    integers: list[int] = []
    floats: list[float] = []
    for field in fields_of(data):
        if field.number == 1:
            name = bytes(field.content).decode()
        elif field.number == 2:
            value = _floats(field)[0]
        elif field.number == 3:
            value = _signed(field.value)
        elif field.number == 4 and field.wire == BYTES:
            value = bytes(field.content).decode()
        elif field.number == 7:
            floats += _floats(field)
        elif field.number == 8:
            integers += _integers(field)
    return name, value if value is not None else integers or floats


def _tensor(data: memoryview) -> tuple[str, NDArray[np.generic]]:
    name, kind = "", 0
    sides: list[int] = []
    raw: memoryview | None = None
    floats: list[float] = []
    integers: list[int] = []
    for field in fields_of(data):
        if field.number == 1:
            sides += _integers(field)
        elif field.number == 2:
            kind = field.value
        elif field.number == 4:
            floats += _floats(field)
        elif field.number in (5, 7):
            integers += _integers(field)
        elif field.number == 8:
            name = bytes(field.content).decode()
        elif field.number == 9:
            raw = field.content
    if kind not in _DTYPES or len(sides) > _MAX_RANK:
        raise ValueError(f"tensor {name!r} has type {kind} and {len(sides)} axes")
    dtype = np.dtype(_DTYPES[kind])
    array = np.frombuffer(raw, dtype) if raw is not None else np.asarray(floats or integers, dtype)
    return name, array.reshape(sides)
