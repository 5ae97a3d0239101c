"""Pictures of an analysis as inline SVG: measures against depth, accuracy against memory.

Colours are the classes ``c0`` to ``c7`` of the page's style sheet; every text is escaped.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from itertools import groupby

from lightcl_edge.console.text import format_bytes
from lightcl_host.analysis.record import Analysis, CutRecord
from lightcl_profiler.reports.accuracy_charts import Box, label_of_point
from lightcl_profiler.reports.charts import nice_step, text

_MIB = 2**20
#: Slanted names closer than this, in pixels, would run into each other.
_LABEL_DISTANCE = 17
#: Measure, its name, its colour.
MEASURES = (
    ("memory_stability", "memory stability", 0),
    ("learning_plasticity", "learning plasticity", 2),
    ("generalizability", "generalizability", 1),
)


class _Axes:
    """A rectangle with a linear scale on each side."""

    def __init__(self, width: int, height: int, x: tuple[float, float], y: tuple[float, float], bottom: int) -> None:
        self.left, self.right, self.top, self.bottom = 44, width - 14, 16, height - bottom
        self._x, self._y = x, y

    def x(self, value: float) -> float:
        low, high = self._x
        return self.left + (self.right - self.left) * (value - low) / max(high - low, 1e-12)

    def y(self, value: float) -> float:
        low, high = self._y
        return self.bottom - (self.bottom - self.top) * (value - low) / max(high - low, 1e-12)

    def rows(self, show: str) -> list[str]:
        """Grid lines with their labels."""
        low, high = self._y
        step = nice_step(high - low, 5)
        body, value = [], step * -(-low // step)
        while value <= high + 1e-9:
            y = self.y(value)
            body.append(f'<line x1="{self.left}" x2="{self.right}" y1="{y:.1f}" y2="{y:.1f}" class="grid"/>')
            body.append(text(self.left - 6, y + 4, format(value, show), "axis", "end"))
            value += step
        return body

    def vertical(self, value: float, kind: str) -> str:
        """A line from top to bottom."""
        x = self.x(value)
        return f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{self.top}" y2="{self.bottom}" class="{kind}"/>'


def _element(width: int, height: int, title: str, body: Sequence[str]) -> str:
    head = f'<svg class="timeline" viewBox="0 0 {width} {height}" role="img" aria-label="{escape(title)}">'
    return "\n".join([head, f"<title>{escape(title)}</title>", *body, "</svg>"])


def depth_chart(analysis: Analysis, width: int) -> str:
    """Stability, plasticity and generalizability of every cut in order, stages named below.

    Args:
        analysis: what was found.
        width: of the picture in pixels at full size.

    Returns:
        An ``<svg>`` element.
    """
    cuts, threshold = analysis.cuts, analysis.settings.threshold
    least = min(min(getattr(cut, name) for cut in cuts) for name, *_ in MEASURES)
    low = max(0.0, min(least, threshold) - 0.04)
    height, bottom = 320, 78
    axes = _Axes(width, height, (-0.5, len(cuts) - 0.5), (low, 1.0), bottom)
    body = [*axes.rows(".2f"), *_stage_names(cuts, axes)]
    y = axes.y(threshold)
    body.append(f'<line x1="{axes.left}" x2="{axes.right}" y1="{y:.1f}" y2="{y:.1f}" class="boundary c6"/>')
    body.append(text(axes.left + 4, y + 13, f"threshold {threshold:g}", "phase"))
    if analysis.chosen is not None:
        chosen = analysis.cut(analysis.chosen)
        body.append(axes.vertical(chosen.depth, "boundary c3"))
        right = chosen.depth > len(cuts) / 2
        x = axes.x(chosen.depth) + (-5 if right else 5)
        body.append(text(x, axes.bottom - 6, f"chosen: {chosen.name}", "phase", "end" if right else "start"))
    for name, title, colour in MEASURES:
        body += _curve(cuts, axes, name, title, colour, low)
    return _element(width, height, "Memory stability, learning plasticity and generalizability against depth", body)


def _curve(cuts: Sequence[CutRecord], axes: _Axes, name: str, title: str, colour: int, low: float) -> list[str]:
    """A line through the means, a bar for each deviation, a dot for each cut."""
    points = [(axes.x(cut.depth), axes.y(getattr(cut, name))) for cut in cuts]
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    body = [f'<polyline points="{line}" class="line c{colour}"/>']
    for cut, (x, y) in zip(cuts, points, strict=True):
        mean, deviation = getattr(cut, name), getattr(cut, f"{name}_deviation")
        if deviation:
            ends = axes.y(min(1.0, mean + deviation)), axes.y(max(low, mean - deviation))
            body.append(
                f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{ends[0]:.1f}" y2="{ends[1]:.1f}" class="line c{colour}"/>'
            )
        hint = escape(f"{cut.name}: {title} {mean:.3f}")
        body.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" class="fill c{colour}"><title>{hint}</title></circle>')
    return body


def _stage_names(cuts: Sequence[CutRecord], axes: _Axes) -> list[str]:
    """A line where a stage begins, its name slanted below its middle where there is room for it."""
    body, taken = [], -math.inf
    for stage, group in groupby(cuts, key=lambda cut: cut.stage):
        members = list(group)
        first, last = members[0].depth, members[-1].depth
        if first:
            body.append(axes.vertical(first - 0.5, "grid"))
        x, y = axes.x((first + last) / 2) + 4, axes.bottom + 14
        if x < taken + _LABEL_DISTANCE:
            continue
        taken = x
        body.append(
            f'<text x="{x:.1f}" y="{y:.1f}" class="axis" text-anchor="end" transform="rotate(-40 {x:.1f} {y:.1f})">'
            f"{escape(stage)}</text>"
        )
    return body


def accuracy_chart(analysis: Analysis, width: int) -> str:
    """Accuracy of trained heads against predicted peak memory, the Pareto front as a line.

    Args:
        analysis: what was found; at least one head was trained.
        width: of the picture.

    Returns:
        An ``<svg>`` element.
    """
    tried = [cut for cut in analysis.cuts if cut.head_accuracy is not None]
    peaks = [cut.predicted_peak_bytes / _MIB for cut in tried]
    shares = [100 * (cut.head_accuracy or 0.0) for cut in tried]
    room = max(0.12 * (max(peaks) - min(peaks)), 4.0)
    usable = analysis.device_profile.usable_memory.bytes / _MIB
    right = max(peaks) + room
    height = 320
    spread = max(0.15 * (max(shares) - min(shares)), 2.0)
    span = max(0.0, min(shares) - spread), min(100.0, max(shares) + spread)
    axes = _Axes(width, height, (min(peaks) - room, right), span, 44)
    body = [*axes.rows("g"), *_memory_axis(axes, min(peaks) - room, right)]
    if min(peaks) - room < usable < right:
        body += [axes.vertical(usable, "boundary c5"), text(axes.x(usable) - 5, axes.top + 8, "device", "phase", "end")]
    front = sorted((cut for cut in tried if cut.pareto), key=lambda cut: cut.predicted_peak_bytes)
    line = " ".join(
        f"{axes.x(cut.predicted_peak_bytes / _MIB):.1f},{axes.y(100 * (cut.head_accuracy or 0.0)):.1f}" for cut in front
    )
    if len(front) > 1:
        body.append(f'<polyline points="{line}" class="line c6"/>')
    places = [(axes.x(peak), axes.y(share)) for peak, share in zip(peaks, shares, strict=True)]
    body += _points(analysis, tried, places, [_axis_numbers(axes), _device_name(axes, usable)], width)
    title = "Accuracy of trained heads against predicted peak memory on the device"
    return _element(width, height, title, body)


def _points(
    analysis: Analysis,
    cuts: Sequence[CutRecord],
    places: Sequence[tuple[float, float]],
    others: Sequence[Box],
    width: int,
) -> list[str]:
    """A dot for each cut, the chosen one larger; the names where none covers another."""
    body, names = [], []
    taken = [*others, *(Box(x - 7, y - 7, x + 7, y + 7) for x, y in places)]
    for cut, (x, y) in zip(cuts, places, strict=True):
        chosen = cut.name == analysis.chosen
        colour, radius = (3, 7) if chosen else (1 if cut.pareto else 6, 4)
        hint = escape(f"{cut.name}: {cut.head_accuracy:.1%}, {format_bytes(cut.predicted_peak_bytes)}")
        shape = f'cx="{x:.1f}" cy="{y:.1f}" r="{radius}"'
        body.append(f'<circle {shape} class="fill c{colour}"><title>{hint}</title></circle>')
        names += label_of_point(x, y, f"{cut.name} (chosen)" if chosen else cut.name, colour, taken, width)
    return body + names


def _axis_numbers(axes: _Axes) -> Box:
    """Where the numbers of the axis stand."""
    return Box(0, 0, axes.left, axes.bottom)


def _device_name(axes: _Axes, usable: float) -> Box:
    """Where the line of the device's memory is named."""
    return Box(axes.x(usable) - 45, axes.top - 3, axes.x(usable), axes.top + 12)


def _memory_axis(axes: _Axes, low: float, high: float) -> list[str]:
    step = nice_step(high - low, max(3, (axes.right - axes.left) // 110))
    body, value = [], step * -(-low // step)
    while value <= high:
        body.append(text(axes.x(value), axes.bottom + 16, f"{value:g}", "axis", "middle"))
        value += step
    body.append(text(axes.right, axes.bottom + 34, "predicted peak, MiB", "axis", "end"))
    body.append(text(0, axes.top - 4, "%", "axis"))
    return body
