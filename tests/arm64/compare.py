"""How far two machines' results are apart, and how far they may be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.floating]
Answer = Mapping[str, Sequence[Mapping[str, Any]]]


@dataclass(frozen=True)
class Drift:
    """One comparison.

    Attributes:
        what: was compared.
        found: the distance.
        allowed: the largest that passes; None where it is only reported.
        unit: what the distance counts.
    """

    what: str
    found: float
    allowed: float | None
    unit: str

    @property
    def passes(self) -> bool:
        """Whether it is within what is allowed; a distance that is no number is not."""
        return self.allowed is None or self.found <= self.allowed

    def document(self) -> dict[str, object]:
        """For JSON."""
        found = self.found if np.isfinite(self.found) else None
        return {"what": self.what, "found": found, "allowed": self.allowed, "unit": self.unit, "passes": self.passes}


def relative_rms(found: FloatArray, expected: FloatArray) -> float:
    """Root mean square of the difference over that of what was expected; infinite where shapes differ."""
    if found.shape != expected.shape:
        return float("inf")
    difference = np.subtract(found, expected, dtype=np.float64)
    scale = float(np.sqrt(np.mean(np.square(expected, dtype=np.float64))))
    distance = float(np.sqrt(np.mean(np.square(difference))))
    return distance / scale if scale > 0 else distance


def share_different(found: NDArray[np.generic], expected: NDArray[np.generic]) -> float:
    """Share of the elements that are not equal; 1 where shapes differ."""
    return float(np.mean(found != expected)) if found.shape == expected.shape else 1.0


def learned_distance(
    found: Mapping[str, FloatArray], expected: Mapping[str, FloatArray], start: Mapping[str, FloatArray]
) -> float:
    """How far two trained heads are apart, in units of what training changed.

    Args:
        found: one machine's parameters.
        expected: the other's.
        start: what both started from.

    Returns:
        Root of the summed squared differences over that between ``expected`` and ``start``; infinite where names or
        shapes differ, or nothing was learned.
    """
    if found.keys() != expected.keys() or any(found[n].shape != expected[n].shape for n in expected):
        return float("inf")
    apart = sum(float(np.sum(np.square(np.subtract(found[n], expected[n], dtype=np.float64)))) for n in expected)
    moved = sum(float(np.sum(np.square(np.subtract(expected[n], start[n], dtype=np.float64)))) for n in expected)
    return float(np.sqrt(apart / moved)) if moved > 0 else float("inf")


def answers_apart(found: Sequence[Answer], expected: Sequence[Answer], close: float) -> tuple[int, float]:
    """How two lists of ``predict --json`` differ.

    Args:
        found: one machine's predictions.
        expected: the other's, of the same images in the same order.
        close: an image whose two first classes are no further apart in probability is undecided, and does not count.

    Returns:
        Number of decided images with another first class, and the largest difference of a class's probability.
    """
    others, largest = 0, 0.0
    for one, two in zip(found, expected, strict=True):
        mine = {entry["class"]: entry["probability"] for entry in one["top"]}
        theirs = {entry["class"]: entry["probability"] for entry in two["top"]}
        first, *rest = (entry["probability"] for entry in two["top"])
        decided = not rest or first - rest[0] > close
        others += decided and one["top"][0]["class"] != two["top"][0]["class"]
        largest = max([largest, *(abs(mine.get(name, 0.0) - theirs.get(name, 0.0)) for name in mine | theirs)])
    return others, largest
