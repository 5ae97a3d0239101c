"""Pictures of an analysis: measures against depth, accuracy against memory."""

import math
from collections.abc import Sequence
from itertools import groupby

from markupsafe import Markup

from lightcl_edge.console.text import format_bytes
from lightcl_host.analysis.record import Analysis, CutRecord
from lightcl_profiler.reports.plot import Box, Plot

_MIB = 2**20
_HEIGHT = 320
#: Slanted names closer than this, in pixels, would run into each other.
_LABEL_DISTANCE = 17
#: Measure, its name, its colour.
MEASURES = (
    ("memory_stability", "memory stability", 0),
    ("learning_plasticity", "learning plasticity", 2),
    ("generalizability", "generalizability", 1),
)
#: Colours of heads that were trained, and what they mean.
CHOSEN, FRONT, OTHER = 3, 1, 6
HEADS = ((CHOSEN, "chosen"), (FRONT, "on the Pareto front"), (OTHER, "another is better for less"))


def depth_chart(analysis: Analysis, width: int) -> Markup:
    """Stability, plasticity and generalizability of every cut in order, stages named below."""
    cuts, threshold = analysis.cuts, analysis.settings.threshold
    least = min(getattr(cut, name) for cut in cuts for name, *_ in MEASURES)
    low = max(0.0, min(least, threshold) - 0.04)
    plot = Plot(width, _HEIGHT, (-0.5, len(cuts) - 0.5), (low, 1.0), bottom=78)
    plot.rows("", ".2f")
    _name_stages(cuts, plot)
    plot.horizontal(threshold, "boundary c6")
    plot.text(plot.left + 4, plot.y(threshold) + 13, f"threshold {threshold:g}", "phase")
    if analysis.chosen is not None:
        chosen = analysis.cut(analysis.chosen)
        plot.verticals([chosen.depth], f"boundary c{CHOSEN}")
        away, anchor = (-5, "end") if chosen.depth > len(cuts) / 2 else (5, "start")
        plot.text(plot.x(chosen.depth) + away, plot.bottom - 6, f"chosen: {chosen.name}", "phase", anchor)
    for name, title, colour in MEASURES:
        _draw_measure(plot, cuts, name, title, colour)
    return plot.svg("Memory stability, learning plasticity and generalizability against depth")


def _draw_measure(plot: Plot, cuts: Sequence[CutRecord], name: str, title: str, colour: int) -> None:
    """A line through the means, a bar for each deviation, a dot for each cut; the table of all cuts has the figures."""
    means = [(cut.depth, getattr(cut, name)) for cut in cuts]
    deviations = [getattr(cut, f"{name}_deviation") for cut in cuts]
    low, high = plot.up
    plot.curve(means, colour)
    plot.spans(
        (
            (depth, max(low, mean - deviation), min(high, mean + deviation))
            for (depth, mean), deviation in zip(means, deviations, strict=True)
            if deviation
        ),
        colour,
    )
    plot.dots(means, colour, title, radius=3)


def _name_stages(cuts: Sequence[CutRecord], plot: Plot) -> None:
    """A line where a stage begins, its name slanted below its middle where there is room for it."""
    taken = -math.inf
    for stage, group in groupby(cuts, key=lambda cut: cut.stage):
        depths = [cut.depth for cut in group]
        if depths[0]:
            plot.verticals([depths[0] - 0.5], "grid")
        x, y = plot.x((depths[0] + depths[-1]) / 2) + 4, plot.bottom + 14
        if x >= taken + _LABEL_DISTANCE:
            taken = x
            name = '<text x="{}" y="{}" class="axis" text-anchor="end" transform="rotate(-40 {} {})">{}</text>'
            plot.add(name, x, y, x, y, stage)


def accuracy_chart(analysis: Analysis, width: int) -> Markup:
    """Accuracy of trained heads (at least one) against predicted peak memory, the Pareto front as a line."""
    tried = [cut for cut in analysis.cuts if cut.head_accuracy is not None]
    places = [(cut.predicted_peak_bytes / _MIB, 100 * (cut.head_accuracy or 0.0)) for cut in tried]
    usable = analysis.device_profile.usable_memory.bytes / _MIB
    peaks, shares = [peak for peak, _ in places], [share for _, share in places]
    beside = max(0.12 * (max(peaks) - min(peaks)), 4.0)
    above = max(0.15 * (max(shares) - min(shares)), 2.0)
    across = min(peaks) - beside, max(peaks) + beside
    plot = Plot(width, _HEIGHT, across, (max(0.0, min(shares) - above), min(100.0, max(shares) + above)), bottom=44)
    plot.rows("%")
    plot.numbers("predicted peak, MiB")
    if across[0] < usable < across[1]:
        plot.verticals([usable], "boundary c5")
        x, y = plot.x(usable), plot.top + 8
        plot.text(x - 5, y, "device", "phase", "end")
        plot.taken.append(Box(x - 45, y - 11, x, y + 4))
    front = sorted(place for cut, place in zip(tried, places, strict=True) if cut.pareto)
    if len(front) > 1:
        plot.curve(front, OTHER)
    _draw_heads(plot, analysis, tried, places)
    return plot.svg("Accuracy of trained heads against predicted peak memory on the device")


def _draw_heads(
    plot: Plot, analysis: Analysis, cuts: Sequence[CutRecord], places: Sequence[tuple[float, float]]
) -> None:
    """A dot for each cut, the chosen one larger, then the names where none covers another."""
    names = []
    for cut, place in zip(cuts, places, strict=True):
        chosen = cut.name == analysis.chosen
        colour, radius = (CHOSEN, 7) if chosen else (FRONT if cut.pareto else OTHER, 4)
        hint = f"{cut.name}: {cut.head_accuracy:.1%}, {format_bytes(cut.predicted_peak_bytes)}"
        plot.dots([place], colour, hint, radius)
        names.append((*place, f"{cut.name} (chosen)" if chosen else cut.name, colour))
    for name in names:
        plot.name_point(*name)
