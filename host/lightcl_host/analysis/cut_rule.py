"""The rule that chooses a cut for a device, its reason in words, and which heads are worth training."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lightcl_edge.console.text import format_bytes

if TYPE_CHECKING:
    from lightcl_host.cutting.cuts import Cut

DEFAULT_THRESHOLD = 0.95
ACCURATE, GENERALIZES, FITS, NOTHING_FITS = "accurate", "generalizes", "fits", "nothing_fits"
#: A cut whose training takes a larger share of the whole network's time is not worth a trial.
LONGEST_RELATIVE_TIME = 0.6
#: Features that are larger than this many times those at an earlier cut cost more and leave less to train.
_LARGER = 2
#: Two heads differ when their accuracies differ by more standard errors of the difference than this.
_STANDARD_ERRORS = 2.0


@dataclass(frozen=True)
class Candidate:
    """A cut as the rule sees it; ``relative_time`` is that of training over the whole network's.

    ``accuracy`` is that of a really trained head on held-out images; None where there is none.
    """

    name: str
    generalizability: float
    peak_bytes: int
    head_parameters: int
    feature_bytes: int
    relative_time: float
    accuracy: float | None = None


def worth_measuring(cuts: Sequence[Cut]) -> list[Cut]:
    """The cuts, in order, that no earlier one makes pointless.

    Left out are cuts with much larger features than at an earlier cut, such as those inside the blocks of a MobileNet.
    Of cuts with no weights between them, which learn the same, the one with the smallest features is kept.
    """
    smallest: float = math.inf
    found: list[Cut] = []
    for cut in cuts:
        if cut.feature_bytes > _LARGER * smallest:
            continue
        smallest = min(smallest, cut.feature_bytes)
        if found and found[-1].head_parameters == cut.head_parameters:
            if cut.feature_bytes >= found[-1].feature_bytes:
                continue
            found.pop()
        found.append(cut)
    return found


def choose(
    candidates: Sequence[Candidate], usable_bytes: int, threshold: float, held_images: int
) -> tuple[Candidate | None, str]:
    """The cheapest cut that fits the device and whose really trained head is as good as the best, within chance.

    The cheapest has the smallest product of time, memory and bytes of a feature. Where no head that fits was trained it
    is the deepest cut that fits, where it and all cuts before it generalise enough. If there is none, it is the best of
    those that fit.

    Returns:
        The cut and which part of the rule decided; None when nothing fits.
    """
    fitting = [each for each in candidates if each.peak_bytes <= usable_bytes]
    if not fitting:
        return None, NOTHING_FITS
    if good := as_good_as_the_best(fitting, held_images):
        return min(good, key=lambda each: each.relative_time * each.peak_bytes * each.feature_bytes), ACCURATE
    general = [each for each in generalizing(candidates, threshold) if each.peak_bytes <= usable_bytes]
    if general:
        return general[-1], GENERALIZES
    return max(fitting, key=lambda each: (each.generalizability, -each.peak_bytes)), FITS


def as_good_as_the_best(candidates: Sequence[Candidate], held_images: int) -> list[Candidate]:
    """Of the cuts with trained heads those that are less accurate than the best by no more than chance explains."""
    tried = [(each, each.accuracy) for each in candidates if each.accuracy is not None]
    best = max((accuracy for _, accuracy in tried), default=0.0)
    return [each for each, accuracy in tried if best - accuracy <= chance(best, accuracy, held_images)]


def chance(first: float, second: float, held_images: int) -> float:
    """Two standard errors of the difference of two shares of the held-out images, as if they were independent."""
    variance = first * (1 - first) + second * (1 - second)
    return float(_STANDARD_ERRORS * (variance / max(1, held_images)) ** 0.5)


def generalizing(candidates: Sequence[Candidate], threshold: float) -> list[Candidate]:
    """The cuts before the first one whose generalizability is below the threshold."""
    found = []
    for each in candidates:
        if each.generalizability < threshold:
            break
        found.append(each)
    return found


def shortlist(candidates: Sequence[Candidate], wanted: Sequence[Candidate], usable_bytes: int, count: int) -> list[str]:
    """Names of at most ``count`` cuts that fit and whose heads are worth training.

    They are the ``wanted`` ones, and others spread over the depth. Cuts that train almost as long as the whole network
    are left out where others remain.
    """
    fitting = [each for each in candidates if each.peak_bytes <= usable_bytes]
    first = [each for each in wanted if each in fitting][: max(0, count)]
    light = [each for each in fitting if each.relative_time <= LONGEST_RELATIVE_TIME] or fitting
    others = [each for each in light if each not in first]
    picked = [*first, *_spread(others, max(0, count) - len(first))]
    return [each.name for each in candidates if each in picked]


def _spread(items: Sequence[Candidate], count: int) -> list[Candidate]:
    """At most ``count`` items, evenly over the sequence; the last is one of them."""
    if count >= len(items):
        return list(items)
    return [items[len(items) - 1 - round(at * len(items) / count)] for at in range(count)]


def pareto(points: Sequence[tuple[float, int]]) -> list[bool]:
    """For each (accuracy, bytes): is no other at least as good in both and better in one?"""
    return [
        not any(
            (other[0] >= mine[0] and other[1] <= mine[1]) and (other[0] > mine[0] or other[1] < mine[1])
            for other in points
        )
        for mine in points
    ]


def explain(candidates: Sequence[Candidate], usable_bytes: int, threshold: float, held_images: int, device: str) -> str:
    """Two sentences on why the rule takes this cut; the arguments are those of :func:`choose`."""
    chosen, rule = choose(candidates, usable_bytes, threshold, held_images)
    limit = f"{format_bytes(usable_bytes)} that {device} has for it"
    if chosen is None:
        least = min(candidates, key=lambda each: each.peak_bytes)
        return (
            f"No cut fits {device}: the least memory, {format_bytes(least.peak_bytes)}, is predicted for {least.name}, "
            f"more than the {limit}. A smaller --image-size or a smaller network needs less."
        )
    costs = (
        f"It is predicted to need {format_bytes(chosen.peak_bytes)} of the {limit}, {chosen.relative_time:.0%} of the "
        f"time of training the whole network, and {format_bytes(chosen.feature_bytes)} for a feature."
    )
    if rule == ACCURATE:
        return f"{chosen.name} was taken: {_among_heads(candidates, chosen, usable_bytes, held_images)}. {costs}"
    general = generalizing(candidates, threshold)
    if rule == FITS:
        why = (
            f"none of the {len(general)} cuts up to which generalizability stays at {threshold:g} or more fits"
            if general
            else f"generalizability is below {threshold:g} from the first cut on"
        )
        return (
            f"{chosen.name} was taken because {why}; of those that fit it generalises best "
            f"({_beside(chosen.generalizability, threshold)}). {costs}"
        )
    after = candidates[len(general)] if len(general) < len(candidates) else None
    end = (
        f"at the next cut, {after.name}, it falls to {_beside(after.generalizability, threshold)}"
        if after
        else "it never falls below that"
    )
    same = "" if chosen is general[-1] else ", the deepest of them that fits"
    return (
        f"{chosen.name} was taken{same}: up to it every cut keeps a generalizability of {threshold:g} or more "
        f"(here {chosen.generalizability:.3f}), {end}. {costs}"
    )


def _among_heads(candidates: Sequence[Candidate], chosen: Candidate, usable_bytes: int, held_images: int) -> str:
    """Why of the heads really trained this one was taken."""
    tried = [each for each in candidates if each.accuracy is not None and each.peak_bytes <= usable_bytes]
    best, mine = max(each.accuracy or 0.0 for each in tried), chosen.accuracy or 0.0
    if len(tried) == 1:
        return f"its head, the only one really trained, reached {mine:.1%} of all classes on {held_images} images"
    of, noise = f"of {len(tried)} heads really trained", chance(best, mine, held_images)
    if len(as_good_as_the_best(tried, held_images)) == 1:
        return f"{of} it is the most accurate ({mine:.1%} of all classes on {held_images} images)"
    return (
        f"{of} it costs least, and none is more accurate than chance explains ({mine:.1%} of all classes, the best "
        f"{best:.1%}; differences below {noise:.1%} are chance on {held_images} images)"
    )


def _beside(value: float, threshold: float) -> str:
    """With three digits, or with as many as show that it is below the threshold."""
    shown = (f"{value:.{digits}f}" for digits in range(3, 12))
    return next((text for text in shown if value >= threshold or float(text) < threshold), repr(value))
