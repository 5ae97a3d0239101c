"""What the device says of an image, and when it says that it does not know."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice

from lightcl_edge.console.text import Document
from lightcl_edge.errors import UsageError
from lightcl_edge.inference.learned_classifier import DEFAULT_FALSE_ALARMS, DEFAULT_UNSURE_BELOW


@dataclass(frozen=True)
class Limits:
    """When a prediction is unknown or unsure. Raises UsageError unless both are 0 to 1.

    Attributes:
        false_alarms: share of images of known classes that may be called unknown by mistake.
        unsure_below: a prediction is unsure when its largest probability is below this.
    """

    false_alarms: float = DEFAULT_FALSE_ALARMS
    unsure_below: float = DEFAULT_UNSURE_BELOW

    def __post_init__(self) -> None:
        for name, value in (("false_alarms", self.false_alarms), ("unsure_below", self.unsure_below)):
            if not 0.0 <= value <= 1.0:
                raise UsageError(f"{name} is {value}; expected a share of 0 to 1, such as 0.05")


@dataclass(frozen=True)
class Prediction:
    """What an image shows.

    Attributes:
        label: the most probable of the known classes.
        probability: of that class, 0 to 1.
        probabilities: of every known class, the most probable first.
        unknown: whether the image is like nothing that was learned.
        unknown_score: how strange the image is, with no unit and no bounds: its squared distance to the nearest class
            less that to all classes together. None when no class was learned in closed form.
        unsure: whether no class is probable enough.
    """

    label: str
    probability: float
    probabilities: dict[str, float]
    unknown: bool
    unknown_score: float | None
    unsure: bool

    def document(self, count: int) -> Document:
        """For ``--json``, with the ``count`` most probable classes."""
        top = islice(self.probabilities.items(), count)
        return {
            "top": [{"class": name, "probability": probability} for name, probability in top],
            "unknown": self.unknown,
            "unknown_score": self.unknown_score,
            "unsure": self.unsure,
        }
