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


@lru_cache(maxsize=64)
def _types(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind, include_extras=True)


@dataclass(frozen=True)
class _Reader:
    error: type[Exception]
    expected: str
    complete: bool

    def record(self, kind: Any, value: Any, where: str) -> Any:
        if not isinstance(value, Mapping):
            raise self._wrong(where, value, "an object")
        types_by_name = _types(kind)
        found = {}
        for entry in fields(kind):
            if entry.name in value:
                place = f"{where}.{entry.name}" if where else entry.name
                found[entry.name] = self._value(types_by_name[entry.name], value[entry.name], place)
            elif self.complete or (entry.default is MISSING and entry.default_factory is MISSING):
                raise self.error(f"{where or 'it'} lacks {entry.name!r}; expected {self.expected}")
        return kind(**found)

    def _value(self, kind: Any, value: Any, where: str) -> Any:
        origin, inner = get_origin(kind), get_args(kind)
        if origin is Annotated:
            return self._checked(inner, value, where)
        if origin in (Union, types.UnionType):
            wanted = next(each for each in inner if each is not type(None))
            return None if value is None else self._value(wanted, value, where)
        if origin in (list, tuple):
            return self._list(origin, inner, value, where)
        if origin is dict:
            if not isinstance(value, Mapping):
                raise self._wrong(where, value, "an object")
            return {str(key): self._value(inner[1], item, f"{where}.{ascii(key)[1:-1]}") for key, item in value.items()}
        if hasattr(kind, "__dataclass_fields__"):
            return self.record(kind, value, where)
        return value if kind is Any else self._plain(kind, value, where)

    def _checked(self, inner: tuple[Any, ...], value: Any, where: str) -> Any:
        kind, *checks = inner
        found = self._value(kind, value, where)
        for check in checks:
            if not check.holds(found):
                raise self._wrong(where, value, check.expected)
        return found

    def _list(self, origin: Any, kinds: tuple[Any, ...], value: Any, where: str) -> Any:
        if not isinstance(value, list | tuple):
            raise self._wrong(where, value, "a list")
        if origin is list:
            return [self._value(kinds[0], item, f"{where}[{i}]") for i, item in enumerate(value)]
        if len(value) != len(kinds):
            raise self._wrong(where, value, f"a list of {len(kinds)}")
        return tuple(self._value(each, item, where) for each, item in zip(kinds, value, strict=True))

    def _plain(self, kind: Any, value: Any, where: str) -> Any:
        if isinstance(value, bool) != (kind is bool) or not isinstance(value, int | float if kind is float else kind):
            raise self._wrong(where, value, "true or false" if kind is bool else f"a value of type {kind.__name__}")
        if kind is float and not abs(value) < _TOO_LARGE:  # NaN is not below either
            raise self._wrong(where, value, "a finite number")
        if kind is int and not abs(value) < _TOO_LARGE_INTEGER:
            raise self._wrong(where, f"a number of {value.bit_length()} bits", "a number of at most 63 bits")
        text = str(value) if kind is str else ""
        if not text.isascii() and any("\ud800" <= letter <= "\udfff" for letter in text):
            raise self._wrong(where, value, "text that UTF-8 can carry")
        return float(value) if kind is float else value

    def _wrong(self, where: str, value: object, expected: str) -> Exception:
        return self.error(f"{where or 'it'} is {ascii(value)[:80]}, expected {expected}")
