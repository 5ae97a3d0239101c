"""The one reader of typed records: JSON values to dataclasses, strictly. A missing key or a wrong value is named.

What a value must be besides its type stands in the dataclass: ``height: Annotated[int, between(1, 4096)]``. A lambda
that uses a name of its module must be written outside of the class, because annotations are evaluated elsewhere.
"""

import re
import types
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, fields
from functools import lru_cache
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin, get_type_hints

from lightcl_edge.errors import DataError

RecordT = TypeVar("RecordT")
#: Numbers from here on are damage.
_TOO_LARGE, _TOO_LARGE_INTEGER = 1e300, 2**63


@dataclass(frozen=True)
class Check:
    """What a value of the right type must be, and how to say so in a message."""

    holds: Callable[[Any], bool]
    expected: str


def between(low: float, high: float) -> Check:
    """A number from ``low`` to ``high``, both included."""
    return Check(lambda value: low <= value <= high, f"a number from {low:,} to {high:,}")


def hexadecimal(digits: int) -> Check:
    pattern = re.compile(f"[0-9a-fA-F]{{{digits}}}")
    return Check(lambda value: pattern.fullmatch(value) is not None, f"{digits} hexadecimal digits")


NOT_NEGATIVE = Check(lambda value: value >= 0, "0 or more")
POSITIVE = Check(lambda value: value > 0, "a number above 0")
DIFFERENT = Check(lambda value: len(set(value)) == len(value), "different names")


def read_record(
    kind: type[RecordT],
    value: Any,
    where: str,
    error: type[Exception] = DataError,
    expected: str = "a document made by lightcl-edge profile",
    *,
    complete: bool = False,
) -> RecordT:
    """Build one record from JSON. Unknown keys are ignored, so that documents of newer versions can be read.

    Args:
        where: what to call the value in a message; empty when the message has its name already.
        error: the class of what is raised.
        expected: what a document that lacks a key should have been.
        complete: whether keys with a default must be there too.

    Raises:
        Exception: of the class asked for, naming the key, the value found and what was expected.
    """
    record: RecordT = _Reader(error, expected, complete).record(kind, value, where)
    return record


@dataclass(frozen=True)
class _Reader:
    error: type[Exception]
    expected: str
    complete: bool

    def record(self, kind: Any, value: Any, where: str) -> Any:
        if not isinstance(value, Mapping):
            raise self.wrong(where, value, "an object")
        found = {}
        for name, read, may_lack in _fields(kind):
            if name in value:
                found[name] = read(self, value[name], f"{where}.{name}" if where else name)
            elif self.complete or not may_lack:
                raise self.error(f"{where or 'it'} lacks {name!r}; expected {self.expected}")
        return kind(**found)

    def wrong(self, where: str, value: object, expected: str) -> Exception:
        return self.error(f"{where or 'it'} is {ascii(value)[:80]}, expected {expected}")


#: Reads a value that is called ``where`` in messages.
_Read = Callable[[_Reader, Any, str], Any]


@lru_cache(maxsize=64)
def _fields(kind: Any) -> list[tuple[str, _Read, bool]]:
    """Of a dataclass: each field's name, its reader, and whether it has a default."""
    types_by_name = get_type_hints(kind, include_extras=True)
    return [
        (
            each.name,
            _reading(types_by_name[each.name]),
            each.default is not MISSING or each.default_factory is not MISSING,
        )
        for each in fields(kind)
    ]


def _reading(kind: Any) -> _Read:
    """How a value of a type is read; found once for each field, as looking into types is slow."""
    origin, inner = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return _checked(_reading(inner[0]), inner[1:])
    if origin in (Union, types.UnionType):
        wanted = _reading(next(each for each in inner if each is not type(None)))
        return lambda reader, value, where: None if value is None else wanted(reader, value, where)
    if origin is list:
        return _list(_reading(inner[0]))
    if origin is tuple:
        return _tuple([_reading(each) for each in inner])
    if origin is dict:
        return _dict(_reading(inner[1]))
    return _record(kind) if hasattr(kind, "__dataclass_fields__") else _plain(kind)


def _record(kind: Any) -> _Read:
    return lambda reader, value, where: reader.record(kind, value, where)


def _checked(read: _Read, checks: tuple[Check, ...]) -> _Read:
    def checked(reader: _Reader, value: Any, where: str) -> Any:
        found = read(reader, value, where)
        for check in checks:
            if not check.holds(found):
                raise reader.wrong(where, value, check.expected)
        return found

    return checked


def _list(read: _Read) -> _Read:
    def listed(reader: _Reader, value: Any, where: str) -> Any:
        if not isinstance(value, list | tuple):
            raise reader.wrong(where, value, "a list")
        return [read(reader, item, f"{where}[{i}]") for i, item in enumerate(value)]

    return listed


def _tuple(reads: list[_Read]) -> _Read:
    def tupled(reader: _Reader, value: Any, where: str) -> Any:
        if not isinstance(value, list | tuple):
            raise reader.wrong(where, value, "a list")
        if len(value) != len(reads):
            raise reader.wrong(where, value, f"a list of {len(reads)}")
        return tuple(read(reader, item, where) for read, item in zip(reads, value, strict=True))

    return tupled


def _dict(read: _Read) -> _Read:
    def mapped(reader: _Reader, value: Any, where: str) -> Any:
        if not isinstance(value, Mapping):
            raise reader.wrong(where, value, "an object")
        return {str(key): read(reader, item, f"{where}.{ascii(key)[1:-1]}") for key, item in value.items()}

    return mapped


def _plain(kind: Any) -> _Read:
    if kind is Any:
        return lambda _reader, value, _where: value
    number = int | float if kind is float else kind

    def plain(reader: _Reader, value: Any, where: str) -> Any:
        if isinstance(value, bool) != (kind is bool) or not isinstance(value, number):
            expected = "true or false" if kind is bool else f"a value of type {kind.__name__}"
            raise reader.wrong(where, value, expected)
        if kind is float and not abs(value) < _TOO_LARGE:  # NaN is not below either
            raise reader.wrong(where, value, "a finite number")
        if kind is int and not abs(value) < _TOO_LARGE_INTEGER:
            raise reader.wrong(where, f"a number of {value.bit_length()} bits", "a number of at most 63 bits")
        text = str(value) if kind is str else ""
        if not text.isascii() and any("\ud800" <= letter <= "\udfff" for letter in text):
            raise reader.wrong(where, value, "text that UTF-8 can carry")
        return float(value) if kind is float else value

    return plain
