"""Typed records from JSON, strictly: a missing key or a wrong type is named."""

from __future__ import annotations

import types
from collections.abc import Mapping
from dataclasses import MISSING, fields
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from lightcl_edge.errors import DataError, LightclError

RecordT = TypeVar("RecordT")


def _wrong(where: str, value: object, expected: str) -> DataError:
    return DataError(f"{where} is {str(value)[:80]!r}, expected {expected}")


def _read_list(kind: Any, value: Any, where: str) -> Any:
    if not isinstance(value, list | tuple):
        raise _wrong(where, value, "a list")
    kinds = get_args(kind)
    if get_origin(kind) is tuple:
        if len(value) != len(kinds):
            raise _wrong(where, value, f"a list of {len(kinds)}")
        return tuple(_read_value(each, item, where) for each, item in zip(kinds, value, strict=True))
    return [_read_value(kinds[0], item, f"{where}[{i}]") for i, item in enumerate(value)]


def _read_value(kind: Any, value: Any, where: str) -> Any:
    origin = get_origin(kind)
    if origin in (Union, types.UnionType):
        inner = [each for each in get_args(kind) if each is not type(None)]
        return None if value is None else _read_value(inner[0], value, where)
    if origin in (list, tuple):
        return _read_list(kind, value, where)
    if origin is dict:
        if not isinstance(value, Mapping):
            raise _wrong(where, value, "an object")
        return {str(key): _read_value(get_args(kind)[1], item, f"{where}.{key}") for key, item in value.items()}
    if hasattr(kind, "__dataclass_fields__"):
        return _read_record(kind, value, where)
    if kind is bool:
        if not isinstance(value, bool):
            raise _wrong(where, value, "true or false")
        return value
    if isinstance(value, bool) or not isinstance(value, int | float if kind is float else kind):
        raise _wrong(where, value, f"a value of type {kind.__name__}")
    return value


def read_record(
    kind: type[RecordT],
    value: Any,
    where: str,
    error: type[LightclError] = DataError,
    expected: str = "a document made by lightcl-edge profile",
) -> RecordT:
    """Build one record from JSON.

    Unknown keys are left aside and those with a default may be missing, so that newer and older reports still read.

    Args:
        kind: the record's class.
        value: the JSON object.
        where: what to call it in a message.
        error: the class of what is raised.
        expected: what a document that lacks a key should have been.

    Returns:
        The record.

    Raises:
        LightclError: of the class asked for, naming the key, the value found and the type expected.
    """
    try:
        return _read_record(kind, value, where, expected)
    except DataError as found:
        if error is DataError:
            raise
        raise error(str(found)) from found


def _read_record(kind: type[RecordT], value: Any, where: str, expected: str = "a complete document") -> RecordT:
    if not isinstance(value, Mapping):
        raise DataError(f"{where} is {str(value)[:80]!r}, expected an object")
    hints = get_type_hints(kind)
    entries = fields(kind)  # type: ignore[arg-type]  # always a dataclass
    needed = [e.name for e in entries if e.default is MISSING and e.default_factory is MISSING]
    missing = [name for name in needed if name not in value]
    if missing:
        raise DataError(f"{where} lacks {missing[0]!r}; expected {expected}")
    names = [entry.name for entry in entries if entry.name in value]
    return kind(**{name: _read_value(hints[name], value[name], f"{where}.{name}") for name in names})
