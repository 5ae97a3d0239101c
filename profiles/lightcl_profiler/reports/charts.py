"""The pictures of profiles and benchmarks: peaks as bars, memory over time, accuracy over tasks and against memory."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from lightcl_edge.console.text import format_bytes
from lightcl_profiler.reports.plot import Plot, colour_class, nice_step

_MIB = 2**20
#: The phases of more methods than this would hide the curves.
FEW_CURVES = 3
_HEIGHT = 320
#: A picture this wide has room for the imports beside each peak.
_ROOMY = 600


@dataclass(frozen=True)
class Bar:
    """A method's peak, the part of it that imports alone need, and its accuracy where it is known."""

    label: str
    value_bytes: int
    part_bytes: int
    accuracy: float | None = None  # on held-out images, 0 to 1


@dataclass(frozen=True)
class Curve:
    """A method's memory over time: seconds and bytes, and when each phase starts."""

    label: str
    colour: int
    points: Sequence[tuple[float, int]]
    phases: Sequence[tuple[str, float]]
    end_seconds: float


@dataclass(frozen=True)
class Series:
    """A method's accuracy after each task, 0 to 1, and its peak memory."""

    label: str
    colour: int
    shares: Sequence[float]
    peak_bytes: int


def bar_chart(bars: Sequence[Bar], boards: Sequence[tuple[str, int]], width: int) -> Markup:
    """Peaks as bars, top to bottom, the part of the imports in a faded tone.

    Args:
        boards: names and usable bytes. A line shows each that is not a third longer than all bars.
        width: pixels.
    """
    row, bar_height = 58, 24
    most = max((bar.value_bytes for bar in bars), default=1)
    shown = [(name, size) for name, size in boards if size <= most * 4 / 3]
    longest = max([most, *(size for _, size in shown)])
    top_of_bars = 16 * len(shown)
    plot = Plot(width, row * len(bars) + 4 + top_of_bars, (0, 1), (0, 1))
    scale = (width - 8) / longest
    for i, (name, size) in enumerate(shown):
        x, y = size * scale, 16.0 * i + 12
        plot.text(x - 4 if x > width / 2 else x + 4, y, name, "axis", "end" if x > width / 2 else "start")
        plot.add('<path d="M{},{}V{}" class="boundary c6"/>', x, y - 10, plot.height)
    for i, bar in enumerate(bars):
        top = i * row + 24 + top_of_bars
        plot.text(0, top - 8, bar.label, "label")
        plot.text(width, top - 8, _peak_of(bar, short=width < _ROOMY), "value", "end")
        for size, kind in ((bar.value_bytes, f"fill {colour_class(i)}"), (bar.part_bytes, "part")):
            shape = '<rect x="0" y="{}" width="{}" height="{}" rx="3" class="{}"/>'
            plot.add(shape, top, size * scale, bar_height, kind)
    return plot.svg("Peak resident memory of each method, with the share of its imports", "bars")


def _peak_of(bar: Bar, *, short: bool) -> str:
    right = "" if bar.accuracy is None else f", {bar.accuracy:.1%} right"
    imports = "" if short and right else f", of it imports {format_bytes(bar.part_bytes)}"
    return f"{format_bytes(bar.value_bytes)}{imports}{right}"


def _memory_plot(curves: Sequence[Curve], width: int, height: int, top: int) -> Plot:
    """Axes that hold all curves: seconds to the right, MiB upwards."""
    seconds = max((max(curve.end_seconds, *(at for at, _ in curve.points)) for curve in curves), default=1.0)
    most = max((count for curve in curves for _, count in curve.points), default=_MIB) / _MIB
    plot = Plot(width, height, (0, seconds), (0, most * 1.05), top)
    plot.rows("MiB")
    plot.numbers("seconds")
    return plot


def overlay_chart(curves: Sequence[Curve], width: int) -> Markup:
    """All methods over the same seconds; of a few methods with a dashed line where a phase starts."""
    plot = _memory_plot(curves, width, 300, 26)
    for curve in curves:
        if len(curves) <= FEW_CURVES:
            plot.verticals((at for _, at in curve.phases), f"boundary {colour_class(curve.colour)}")
        plot.curve(((at, count / _MIB) for at, count in curve.points), curve.colour)
    return plot.svg("Resident memory of the methods over time")


def _accuracy_plot(series: Sequence[Series], width: int, across: tuple[float, float]) -> Plot:
    """Per cent upwards; the scale ends above the best accuracy."""
    best = 100 * max((share for each in series for share in each.shares), default=1.0)
    step = nice_step(max(best, 1.0), 5)
    plot = Plot(width, _HEIGHT, across, (0, step * math.ceil(max(best, 1.0) / step)))
    plot.rows("accuracy, %")
    return plot


def tasks_chart(series: Sequence[Series], width: int) -> Markup:
    """Accuracy over all classes seen so far, after each task; a single value stands at the last task."""
    tasks = max((len(each.shares) for each in series), default=1)
    plot = _accuracy_plot(series, width, (1, tasks))
    plot.numbers("tasks learned", range(1, tasks + 1))
    for each in series:
        points = [(tasks - len(each.shares) + i, 100 * share) for i, share in enumerate(each.shares, 1)]
        plot.curve(points, each.colour)
        plot.dots(points, each.colour)
    return plot.svg("Class-incremental accuracy over the classes seen so far, after each task")


def memory_chart(series: Sequence[Series], width: int) -> Markup:
    """Final accuracy against peak memory: up and to the left is better."""
    most = max((each.peak_bytes for each in series), default=_MIB) / _MIB
    final = [Series(each.label, each.colour, each.shares[-1:], each.peak_bytes) for each in series]
    plot = _accuracy_plot(final, width, (0, most * 1.08))
    plot.numbers("peak resident memory, MiB")
    places = [(each.peak_bytes / _MIB, 100 * each.shares[0]) for each in final]
    for each, place in zip(final, places, strict=True):
        plot.dots([place], each.colour)
    for each, place in sorted(zip(final, places, strict=True), key=lambda pair: -pair[0].shares[0]):
        plot.name_point(*place, each.label, each.colour)
    return plot.svg("Class-incremental accuracy after the last task against peak memory")
