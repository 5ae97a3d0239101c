"""Protobuf messages, read and written field by field. It is the format of ONNX files; no package is needed for it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

#: Wire types; those of fixed size with their bytes.
_VARINT, _BYTES, _FIXED_BYTES = 0, 2, {1: 8, 5: 4}

#: The content of a message in pieces, so that tensors need not be copied.
Parts = list["bytes | memoryview"]


class Field(NamedTuple):
    """One field of a message."""

    number: int
    value: int  # of a varint, else 0
    content: memoryview  # of a string, bytes or message, else empty
    whole: slice  # where the field lies in its message, with its tag


def fields(data: memoryview) -> Iterator[Field]:
    """The fields of a message, in order. Raises ValueError when it is no message."""
    at = 0
    while at < len(data):
        start = at
        tag, at = _varint(data, at)
        wire, value, size = tag & 7, 0, 0
        if wire == _VARINT:
            value, at = _varint(data, at)
        elif wire == _BYTES:
            size, at = _varint(data, at)
        elif wire in _FIXED_BYTES:
            at += _FIXED_BYTES[wire]
        else:
            raise ValueError(f"wire type {wire} at byte {at}")
        if at + size > len(data):
            raise ValueError(f"a field at byte {at} runs past its message")
        yield Field(tag >> 3, value, data[at : at + size], slice(start, at + size))
        at += size


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(data) and shift < 70:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at
    raise ValueError(f"cut short at byte {at}")


def number_field(number: int, value: int) -> Parts:
    """A field that holds a number, 0 or more."""
    return [_encoded(number << 3 | _VARINT) + _encoded(value)]


def bytes_field(number: int, content: str | bytes | memoryview) -> Parts:
    """A field that holds text or bytes."""
    data = content.encode() if isinstance(content, str) else content
    return [_encoded(number << 3 | _BYTES) + _encoded(len(data)), data]


def message_field(number: int, content: Sequence[bytes | memoryview]) -> Parts:
    """A field that holds a message, given by its content."""
    return [_encoded(number << 3 | _BYTES) + _encoded(sum(map(len, content))), *content]


def _encoded(value: int) -> bytes:
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    found.append(value)
    return bytes(found)
