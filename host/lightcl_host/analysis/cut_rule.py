"""The rule that chooses a cut for a device, its reason in words, and which heads are worth training."""

from collections.abc import Sequence
from dataclasses import dataclass

from lightcl_edge.console.text import format_bytes

DEFAULT_THRESHOLD = 0.95
GENERALIZES, FITS, NOTHING_FITS = "generalizes", "fits", "nothing_fits"
#: A cut whose training takes a larger share of the whole network's time is not worth a trial.
LONGEST_RELATIVE_TIME = 0.6


@dataclass(frozen=True)
class Candidate:
    """A cut as the rule sees it; ``relative_time`` is that of training over the whole network's.

    Cuts with equally many head parameters learn the same.
    """

    name: str
    generalizability: float
    peak_bytes: int
    head_parameters: int
    feature_bytes: int
    relative_time: float


def choose(candidates: Sequence[Candidate], usable_bytes: int, threshold: float) -> tuple[Candidate | None, str]:
    """The deepest cut that fits the device, where it and all cuts before it generalise enough.

    If no such cut fits, the best of those that fit is taken. Of cuts with no weights between them, the cheapest is.

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
    """The cuts before the first one whose generalizability is below the threshold."""
    found = []
    for each in candidates:
        if each.generalizability < threshold:
            break
        found.append(each)
    return found


def shortlist(candidates: Sequence[Candidate], chosen: Candidate | None, usable_bytes: int, count: int) -> list[str]:
    """Names of at most ``count`` cuts whose heads are worth training: the chosen one, and others spread over the depth.

    Left out are cuts that do not fit, and cuts whose features are larger than at an earlier cut: they cost more and
    learn less. Of cuts with no weights between them one is taken. Cuts that train almost as long as the whole network
    are left out where others remain.
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


def explain(candidates: Sequence[Candidate], usable_bytes: int, threshold: float, device: str) -> str:
    """A few sentences on why the rule takes this cut; the arguments are those of :func:`choose`."""
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
    """With three digits, or with as many as show that it is below the threshold."""
    shown = (f"{value:.{digits}f}" for digits in range(3, 12))
    return next((text for text in shown if value >= threshold or float(text) < threshold), repr(value))
