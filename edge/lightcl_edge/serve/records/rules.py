"""Checks of values that an OpenAPI document can state: what is refused and what is documented are the same."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from lightcl_edge.files.records import Check


@dataclass(frozen=True)
class Rule(Check):
    """A check with its keywords in JSON Schema."""

    keywords: dict[str, Any] = field(default_factory=dict, compare=False)


def _rule(holds: Callable[[Any], bool], expected: str, **keywords: Any) -> Rule:
    return Rule(holds, expected, keywords)


def within(low: float, high: float) -> Rule:
    """A number from ``low`` to ``high``, both included."""
    return _rule(lambda value: low <= value <= high, f"a number from {low:,} to {high:,}", minimum=low, maximum=high)


def pattern(expression: str, expected: str) -> Rule:
    """Text that a regular expression matches."""
    compiled = re.compile(expression)
    return _rule(lambda value: compiled.search(value) is not None, expected, pattern=expression)


def choice(*values: str) -> Rule:
    """One of a few texts."""
    return _rule(lambda value: value in values, f"one of {', '.join(values)}", enum=list(values))


def at_most(count: int) -> Rule:
    """A list of 1 to ``count`` items."""
    return _rule(lambda value: 1 <= len(value) <= count, f"1 to {count} items", minItems=1, maxItems=count)
