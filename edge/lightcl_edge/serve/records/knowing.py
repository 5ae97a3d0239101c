"""What the generations know, and wishes to change it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from lightcl_edge.serve.records.fields import ClassName, Share
from lightcl_edge.serve.records.rules import within


@dataclass(frozen=True)
class KnownClass:
    class_name: str
    pictures: int | None  # it was taught with
    held_out: int  # pictures that it is judged by
    accuracy: Share | None


@dataclass(frozen=True)
class Calibration:
    """How far probabilities can be trusted: of the predictions in a range, how many were right."""

    from_probability: Share
    to_probability: Share
    predictions: int
    mean_probability: Share
    accuracy: Share


@dataclass(frozen=True)
class Knowledge:
    """What the generation in use knows."""

    generation: int
    capacity: int
    classes: list[KnownClass]
    accuracy: Share | None  # the mean over classes
    confusion: list[list[int]]  # row: true class; column: answer
    calibration: list[Calibration]
    calibration_error: Share | None


@dataclass(frozen=True)
class Rename:
    class_name: ClassName
    to: ClassName


@dataclass(frozen=True)
class Forget:
    class_name: ClassName


@dataclass(frozen=True)
class Generation:
    number: int
    created: float | None
    classes: list[str]
    accuracy: Share | None  # the mean over classes
    right: int  # of so many pictures that were kept apart
    tested: int
    strategy: str | None
    pictures: int
    in_use: bool
    problem: str | None = None


@dataclass(frozen=True)
class History:
    current: int
    generations: list[Generation]


@dataclass(frozen=True)
class Rollback:
    to: Annotated[int, within(0, 999_999)]


@dataclass(frozen=True)
class Moved:
    """The generation in use after a change."""

    generation: int
    classes: list[str]
