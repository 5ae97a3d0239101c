"""What the interface over the network takes and gives, as records; ``/api/v1/openapi.json`` is made of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

from lightcl_edge.data.region import Region
from lightcl_edge.serve.rules import at_most, choice, pattern, within

#: A class's name is also the name of a folder: no slash, no leading dot, no space at an end, nothing unprintable.
CLASS_NAME = pattern(
    r"^[^\s./\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ufeff]"
    r"([^/\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ufeff]{0,58}[^\s/\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ufeff])?$",
    "1 to 60 printable characters, without / and not beginning with a dot",
)
PICTURE_ID = pattern(r"^[0-9a-z-]{1,40}$", "the id of a picture")

ClassName = Annotated[str, CLASS_NAME]
PictureId = Annotated[str, PICTURE_ID]
Ids = Annotated[list[PictureId], at_most(500)]
Share = Annotated[float, within(0, 1)]


@dataclass(frozen=True)
class Fault:
    kind: str
    message: str


@dataclass(frozen=True)
class Failure:
    """Every answer that is no success."""

    error: Fault


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
class TaughtPicture:
    id: str
    class_name: str
    bytes: int


@dataclass(frozen=True)
class Taught:
    """Pictures that have a label and are not learned yet."""

    pictures: list[TaughtPicture]
    classes: dict[str, int]


@dataclass(frozen=True)
class Teaching:
    """The answer to a picture that was taught: it is on the disk by now."""

    id: str
    class_name: str
    frame: int | None  # its number, when it came from the camera
    classes: dict[str, int]


@dataclass(frozen=True)
class Relabel:
    ids: Ids
    class_name: ClassName


@dataclass(frozen=True)
class Drop:
    ids: Ids


@dataclass(frozen=True)
class Changed:
    pictures: int


@dataclass(frozen=True)
class WaitingPicture:
    id: str
    reason: str
    class_name: str | None  # that was the most probable
    probability: Share
    taken_at: float
    bytes: int


@dataclass(frozen=True)
class Queue:
    """Frames that wait for a label."""

    pictures: list[WaitingPicture]
    bytes: int
    limit_bytes: int


@dataclass(frozen=True)
class LearnWish:
    """How to learn what was taught."""

    anyway: bool = False  # even if the check of the new head speaks against it


@dataclass(frozen=True)
class Before:
    """A class before and after, on pictures that were not learned from."""

    class_name: str
    pictures: int
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
    accuracy: Share | None = None
    new_classes: list[str] = field(default_factory=list)
    per_class: list[Before] = field(default_factory=list)


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


@dataclass(frozen=True)
class Against:
    """A taught picture that the present knowledge calls something else."""

    id: str
    class_name: str
    says: str
    probability: Share


@dataclass(frozen=True)
class Contradictions:
    pictures: list[Against]


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
    accuracy: Share | None
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


@dataclass(frozen=True)
class SourceState:
    kind: str
    working: bool
    message: str
    frames_per_second: float


@dataclass(frozen=True)
class Status:
    version: str
    generation: int
    classes: list[str]
    capacity: int | None
    model: str | None
    source: SourceState
    predictions_per_second: float
    taught: dict[str, int]
    queue: int
    learning: Learning
    live: Live | None
    settings: Settings
    problem: str | None
    mqtt: str | None  # how the link to a broker is; None without one


@dataclass(frozen=True)
class Settings:
    """What the owner has set on the page."""

    region: Region | None = None  # of the picture that counts; None for all of it
    threshold: Share = 0.8  # the least probability of a sure answer
    agreement: Annotated[float, within(0.01, 1)] = 0.6  # the least share of frames that agree
    window: Annotated[int, within(1, 50)] = 5  # frames that are looked at together


@dataclass(frozen=True)
class Board:
    """The machine and this program on it; None where nothing tells."""

    pss_bytes: int | None
    peak_rss_bytes: int | None
    learner_pss_bytes: int | None  # None while nothing is learned
    available_bytes: int | None
    total_bytes: int | None
    temperature_celsius: float | None
    throttled: str | None
    disk_free_bytes: int
    disk_total_bytes: int
    written_bytes: int
    predictions_per_second: float
    frames_per_second: float
    seconds_running: float
    clients: int


@dataclass(frozen=True)
class Event:
    time: float
    event: str
    details: str


@dataclass(frozen=True)
class Log:
    events: list[Event]
