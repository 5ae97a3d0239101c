"""What the camera shows, and how the owner wants it shown."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from lightcl_edge.data.region import Region
from lightcl_edge.serve.records.fields import Share
from lightcl_edge.serve.records.rules import choice, within


@dataclass(frozen=True)
class Top:
    class_name: str
    probability: Share


@dataclass(frozen=True)
class Prediction:
    """What one picture shows."""

    generation: int
    top: list[Top]
    unknown: bool  # of no class that was ever taught
    unknown_score: float | None
    unsure: bool


@dataclass(frozen=True)
class Predictions:
    """As the document of ``lightcl-edge predict --json``: one picture here."""

    predictions: list[Prediction]


@dataclass(frozen=True)
class Answer:
    """What the camera shows, over several frames."""

    class_name: str | None
    probability: Share
    kind: Annotated[str, choice("sure", "unsure", "never seen", "nothing learned")]


@dataclass(frozen=True)
class Live:
    """A frame's answer, as the events bring it."""

    frame: int
    taken_at: float
    answer: Answer
    prediction: Prediction | None
    predictions_per_second: float


@dataclass(frozen=True)
class Pushed:
    frame: int


@dataclass(frozen=True)
class Settings:
    """What the owner has set on the page."""

    region: Region | None = None  # of the picture that counts; None for all of it
    threshold: Share = 0.8  # the least probability of a sure answer
    agreement: Annotated[float, within(0.01, 1)] = 0.6  # the least share of frames that agree
    window: Annotated[int, within(1, 50)] = 5  # frames that are looked at together
