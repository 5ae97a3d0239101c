"""What is taught, and frames that wait for a label."""

from __future__ import annotations

from dataclasses import dataclass

from lightcl_edge.serve.records.fields import ClassName, Ids, Share


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
class Against:
    """A taught picture that the present knowledge calls something else."""

    id: str
    class_name: str
    says: str
    probability: Share


@dataclass(frozen=True)
class Contradictions:
    pictures: list[Against]
