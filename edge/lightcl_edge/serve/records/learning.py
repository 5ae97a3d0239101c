"""How what was taught is learned, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

from lightcl_edge.serve.records.fields import Share
from lightcl_edge.serve.records.rules import choice


@dataclass(frozen=True)
class LearnWish:
    """How to learn what was taught."""

    anyway: bool = False  # even if the check of the new head speaks against it


@dataclass(frozen=True)
class Before:
    """A class before and after."""

    class_name: str
    pictures: int  # that it is tested with
    learned: int  # so many of them were learned from, because few were kept apart
    before: Share | None
    after: Share | None


@dataclass(frozen=True)
class Outcome:
    """How the last learning ended."""

    kind: Annotated[str, choice("learned", "refused", "failed")]
    message: str
    at: float
    generation: int | None = None
    seconds: float | None = None
    peak_bytes: int | None = None
    accuracy: Share | None = None  # the mean over classes
    right: int = 0  # of so many pictures that were kept apart
    held_out: int = 0
    new_classes: list[str] = field(default_factory=list)
    per_class: list[Before] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)  # as of pictures that were taught before


@dataclass(frozen=True)
class Learning:
    """The running or the last learning."""

    running: bool
    phase: str | None = None
    step: str | None = None
    done: int = 0
    total: int = 0
    seconds: float = 0.0
    pictures: int = 0
    message: str | None = None
    outcome: Outcome | None = None


@dataclass(frozen=True)
class Foreseen:
    """What learning the pictures that wait would take."""

    pictures: int
    classes: dict[str, int]
    new_classes: list[str]
    strategy: str | None = None
    peak_bytes: int | None = None
    allowed_bytes: int | None = None
    problem: str | None = None
