"""Which cut to take for a device: the rule, what it says in words, and which heads are worth training for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lightcl_edge.console.text import format_bytes

DEFAULT_THRESHOLD = 0.95
GENERALIZES, FITS, NOTHING_FITS = "generalizes", "fits", "nothing_fits"
#: A cut that trains for longer than this share of the whole network's time is not worth a trial.
LONGEST_RELATIVE_TIME = 0.6


@dataclass(frozen=True)
class Candidate:
    """What the rule looks at.

    Attributes:
        name: of the cut.
        generalizability: 0 to 1.
        peak_bytes: predicted on the device.
        head_parameters: weights that are trained; cuts with equally many differ in nothing that is learned.
        feature_bytes: of one stored feature.
        relative_time: of training, over the whole network's.
    """

    name: str
    generalizability: float
    peak_bytes: int
    head_parameters: int
    feature_bytes: int
    relative_time: float


def choose(candidates: Sequence[Candidate], usable_bytes: int, threshold: float) -> tuple[Candidate | None, str]:
    """The deepest cut such that it and all before it generalise, among those that fit the device.

    Where no such cut fits, the one that generalises best of those that fit. Of cuts between which there are no
    weights, the cheapest is taken.

    Args:
        candidates: cuts in the order of the network.
        usable_bytes: memory of the device.
        threshold: generalizability that counts as enough.

    Returns:
        The cut and which part of the rule decided; None when nothing fits.
    """
    fitting = [each for each in candidates if each.peak_bytes <= usable_bytes]
    if not fitting:
        return None, NOTHING_FITS
    general = [each for each in generalizing(candidates, threshold) if each.peak_bytes <= usable_bytes]
    if general:
        return _cheapest_like(general[-1], general), GENERALIZES
    best = max(fitting, key=lambda each: (each.generalizability, -each.peak_bytes))
    return _cheapest_like(best, [each for each in fitting if each.generalizability == best.generalizability]), FITS


def _cheapest_like(cut: Candidate, among: Sequence[Candidate]) -> Candidate:
    same = [each for each in among if each.head_parameters == cut.head_parameters]
    return min(same, key=lambda each: (each.peak_bytes, each.feature_bytes))


def generalizing(candidates: Sequence[Candidate], threshold: float) -> list[Candidate]:
    """The cuts up to the last one before generalizability first falls below the threshold."""
    found = []
    for each in candidates:
        if each.generalizability < threshold:
            break
        found.append(each)
    return found


def shortlist(candidates: Sequence[Candidate], chosen: Candidate | None, usable_bytes: int, count: int) -> list[str]:
    """Cuts whose heads are worth training: the chosen one, and others spread over the depth.

    Left out are cuts that do not fit, whose features are larger than at some earlier cut (they cost more and learn
    less), between which there are no weights, and whose training takes almost as long as that of the whole network.

    Args:
        candidates: cuts in order.
        chosen: by the rule, or None.
        usable_bytes: memory of the device.
        count: how many at most.

    Returns:
        Names in order.
    """
    if count < 1:
        return []
    smallest: int | None = None
    sound: list[Candidate] = []
    for each in candidates:
        if smallest is None or each.feature_bytes <= smallest:
            smallest = each.feature_bytes
            if each.peak_bytes <= usable_bytes:
                sound = [other for other in sound if other.head_parameters != each.head_parameters] + [each]
    light = [each for each in sound if each.relative_time <= LONGEST_RELATIVE_TIME] or sound
    others = [each for each in light if chosen is None or each.head_parameters != chosen.head_parameters]
    room = count - (chosen is not None)
    picked = {each.name for each in _spread(others, room)} | ({chosen.name} if chosen else set())
    return [each.name for each in candidates if each.name in picked]


def _spread(items: Sequence[Candidate], count: int) -> list[Candidate]:
    """At most ``count`` items, evenly over the sequence, the last among them."""
    if count >= len(items):
        return list(items)
    return [items[len(items) - 1 - round(at * len(items) / count)] for at in range(count)]


def pareto(points: Sequence[tuple[float, int]]) -> list[bool]:
    """For each (accuracy, bytes): whether no other is at least as good in both and better in one."""
    return [
        not any(
            (other[0] >= mine[0] and other[1] <= mine[1]) and (other[0] > mine[0] or other[1] < mine[1])
            for other in points
        )
        for mine in points
    ]


def explain(candidates: Sequence[Candidate], usable_bytes: int, threshold: float, device: str) -> str:
    """Why this cut, in words.

    Args:
        candidates: cuts in order.
        usable_bytes: memory of the device.
        threshold: generalizability that counts as enough.
        device: name of the profile.

    Returns:
        A few sentences.
    """
    chosen, rule = choose(candidates, usable_bytes, threshold)
    limit = f"{format_bytes(usable_bytes)} that {device} has for it"
    if chosen is None:
        least = min(candidates, key=lambda each: each.peak_bytes)
        return (
            f"No cut fits {device}: the least memory, {format_bytes(least.peak_bytes)}, is predicted for {least.name}, "
            f"more than the {limit}. A smaller --image-size or a smaller network needs less."
        )
    memory = f"it is predicted to need {format_bytes(chosen.peak_bytes)} of the {limit}"
    general = generalizing(candidates, threshold)
    if rule == FITS:
        why = (
            f"none of the {len(general)} cuts up to which generalizability stays at {threshold:g} or more fits"
            if general
            else f"generalizability is below {threshold:g} from the first cut on"
        )
        return (
            f"{chosen.name} was taken because {why}; of those that fit it generalises best "
            f"({_beside(chosen.generalizability, threshold)}), and {memory}."
        )
    after = candidates[len(general)] if len(general) < len(candidates) else None
    end = (
        f"at the next cut, {after.name}, it falls to {_beside(after.generalizability, threshold)}"
        if after
        else "it never falls below that"
    )
    large = [each for each in general if each.peak_bytes > usable_bytes]
    left_out = f" {len(large)} other cuts of that range do not fit." if large else ""
    same = "" if chosen.head_parameters == general[-1].head_parameters else ", the deepest of them that fits"
    return (
        f"{chosen.name} was taken{same}: up to it every cut keeps a generalizability of {threshold:g} or more "
        f"(here {chosen.generalizability:.3f}), {end}; {memory}.{left_out}"
    )


def _beside(value: float, threshold: float) -> str:
    """With three digits, or as many as tell it from a threshold that it is below."""
    shown = (f"{value:.{digits}f}" for digits in range(3, 12))
    return next((text for text in shown if value >= threshold or float(text) < threshold), repr(value))
