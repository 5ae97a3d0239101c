"""How an answer that is no success looks."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Fault:
    kind: str
    message: str


@dataclass(frozen=True)
class Failure:
    """Every answer that is no success."""

    error: Fault
