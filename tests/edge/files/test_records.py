"""The reader of typed records: what it takes, and how it names what it refuses."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Annotated, Any

import pytest

from lightcl_edge.files.records import DIFFERENT, POSITIVE, between, hexadecimal, read_record


@dataclass(frozen=True)
class Part:
    name: str
    share: Annotated[float, between(0, 1)] | None = None


@dataclass(frozen=True)
class Whole:
    digest: Annotated[str, hexadecimal(4)]
    sizes: list[Annotated[int, POSITIVE]]
    names: Annotated[list[str], DIFFERENT]
    ready: bool
    parts: list[Part]
    free: dict[str, Any] = field(default_factory=dict)


GOOD = {
    "digest": "0aF9",
    "sizes": [1, 2],
    "names": ["a", "b"],
    "ready": True,
    "parts": [{"name": "x", "share": 1}, {"name": "y", "share": None}],
    "free": {"any": [1, "2"]},
}


def test_a_good_record_is_read_and_unknown_keys_are_ignored():
    found = read_record(Whole, {**GOOD, "newer": 1}, "whole")
    assert found.parts == [Part("x", 1.0), Part("y")] and isinstance(found.parts[0].share, float)
    assert found.free == {"any": [1, "2"]}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"digest": "0aF"}, "whole.digest is '0aF', expected 4 hexadecimal digits"),
        ({"sizes": [1, 0]}, "whole.sizes[1] is 0, expected a number above 0"),
        ({"sizes": [2**63]}, "whole.sizes[0] is 'a number of 64 bits', expected a number of at most 63 bits"),
        ({"sizes": [True]}, "whole.sizes[0] is True, expected a value of type int"),
        ({"sizes": "12"}, "whole.sizes is '12', expected a list"),
        ({"names": ["a", "a"]}, "whole.names is ['a', 'a'], expected different names"),
        ({"names": ["\ud800"]}, "expected text that UTF-8 can carry"),
        ({"ready": 1}, "whole.ready is 1, expected true or false"),
        ({"parts": [{"name": "x", "share": 2}]}, "whole.parts[0].share is 2, expected a number from 0 to 1"),
        ({"parts": [{"name": "x", "share": math.nan}]}, "whole.parts[0].share is nan, expected a finite number"),
        ({"parts": [{}]}, "whole.parts[0] lacks 'name'; expected all keys"),
        ({"parts": [3]}, "whole.parts[0] is 3, expected an object"),
    ],
)
def test_a_wrong_value_is_named(change, says):
    with pytest.raises(ValueError) as raised:
        read_record(Whole, {**GOOD, **change}, "whole", ValueError, "all keys")
    assert says in str(raised.value)


def test_a_complete_record_may_lack_nothing():
    lacking = {key: value for key, value in GOOD.items() if key != "free"}
    assert read_record(Whole, lacking, "").free == {}
    with pytest.raises(ValueError, match="it lacks 'free'"):
        read_record(Whole, lacking, "", ValueError, complete=True)
