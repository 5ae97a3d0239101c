"""Pictures as inline SVG, drawn by hand: bars of peaks and memory over time.

Colours come from the page's style sheet (classes ``c0`` to ``c11``), so that one picture serves light and
dark. Every text is escaped here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from lightcl_edge.console.text import format_bytes

_MIB = 2**20
COLOURS = 12
FEW_CURVES = 3


@dataclass(frozen=True)
class Bar:
    """A horizontal bar.

    Attributes:
        label: left of it.
        value_bytes: its length.
        part_bytes: the share of it that imports alone need.
    """

    label: str
    value_bytes: int
    part_bytes: int


@dataclass(frozen=True)
class Curve:
    """A method's memory over time.

    Attributes:
        label: the method.
        colour: index of its colour.
        points: seconds and bytes.
        marks: phase names and when they start, in seconds.
        end_seconds: where it ends.
    """

    label: str
    colour: int
    points: Sequence[tuple[float, int]]
    marks: Sequence[tuple[str, float]]
    end_seconds: float


def picture(width: int, height: int, title: str, body: Sequence[str], kind: str) -> str:
    """An ``<svg>`` element.

    Args:
        width: in its own units.
        height: likewise.
        title: for those who can't see it.
        body: what is in it.
        kind: its class.

    Returns:
        The element.
    """
    head = f'<svg class="{kind}" viewBox="0 0 {width} {height}" role="img" aria-label="{escape(title)}">'
    return "\n".join([head, *body, "</svg>"])


def text(x: float, y: float, content: str, kind: str = "", anchor: str = "start") -> str:
    """A text element; ``content`` is escaped."""
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{kind}" text-anchor="{anchor}">{escape(content)}</text>'


def nice_step(span: float, steps: int) -> float:
    """A round step (1, 2 or 5 times a power of ten) that divides ``span`` into at most ``steps`` parts."""
    raw = max(span, 1e-9) / steps
    power = 10.0 ** math.floor(math.log10(raw))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= raw * (1 - 1e-9))


def _ticks(span: float, steps: int) -> list[float]:
    step = nice_step(span, steps)
    return [step * i for i in range(math.floor(span / step + 1e-9) + 1)]


def bar_chart(bars: Sequence[Bar], width: int, title: str) -> str:
    """Peaks as bars, the share of the imports in a faded tone.

    Args:
        bars: top to bottom.
        width: of the picture in its own units, which are pixels at full size.
        title: for those who can't see it.

    Returns:
        An ``<svg>`` element.
    """
    row, bar_height = 58, 24
    longest = max((bar.value_bytes for bar in bars), default=1) or 1
    scale = (width - 8) / longest
    body = []
    for i, bar in enumerate(bars):
        top = i * row + 24
        body.append(text(0, top - 8, bar.label, "label"))
        value = f"{format_bytes(bar.value_bytes)}, of it imports {format_bytes(bar.part_bytes)}"
        body.append(text(width, top - 8, value, "value", "end"))
        shape = f'y="{top}" height="{bar_height}" rx="3"'
        body.append(f'<rect x="0" width="{bar.value_bytes * scale:.1f}" {shape} class="fill c{i % COLOURS}"/>')
        body.append(f'<rect x="0" width="{bar.part_bytes * scale:.1f}" {shape} class="part"/>')
    return picture(width, row * len(bars) + 4, title, body, "bars")


class _Frame:
    """Axes of a chart: seconds to the right, bytes upwards."""

    def __init__(self, width: int, height: int, seconds: float, most_bytes: float, top: int = 14) -> None:
        self.left, self.right, self.top, self.bottom = 48, width - 10, top, height - 30
        self.seconds, self.most = max(seconds, 1e-3), max(most_bytes, 1.0) * 1.05

    def x(self, seconds: float) -> float:
        return self.left + (self.right - self.left) * min(seconds / self.seconds, 1.0)

    def y(self, count: float) -> float:
        return self.bottom - (self.bottom - self.top) * count / self.most

    def axes(self) -> list[str]:
        """Grid lines with their labels."""
        body = []
        for value in _ticks(self.most / _MIB, 5):
            y = self.y(value * _MIB)
            body.append(f'<line x1="{self.left}" x2="{self.right}" y1="{y:.1f}" y2="{y:.1f}" class="grid"/>')
            body.append(text(self.left - 6, y + 4, f"{value:.0f}", "axis", "end"))
        steps = max((self.right - self.left) // 80, 2)
        for value in _ticks(self.seconds, steps):
            body.append(text(self.x(value), self.bottom + 16, f"{value:g}", "axis", "middle"))
        body.append(text(self.right, self.bottom + 28, "seconds", "axis", "end"))
        body.append(text(0, self.top - 3, "MiB", "axis"))
        return body

    def line(self, curve: Curve) -> str:
        """The curve itself."""
        path = " ".join(f"{self.x(t):.1f},{self.y(count):.1f}" for t, count in curve.points)
        return f'<polyline points="{path}" class="line c{curve.colour % COLOURS}"/>'

    def boundaries(self, curve: Curve) -> list[str]:
        """A dashed line where each phase starts."""
        return [
            f'<line x1="{self.x(t):.1f}" x2="{self.x(t):.1f}" y1="{self.top}" y2="{self.bottom}" '
            f'class="boundary c{curve.colour % COLOURS}"/>'
            for _, t in curve.marks
        ]


def overlay_chart(curves: Sequence[Curve], width: int, title: str) -> str:
    """All methods over the same seconds; of a few methods with a dashed line at each phase's start.

    Args:
        curves: the methods.
        width: of the picture.
        title: for those who can't see it.

    Returns:
        An ``<svg>`` element.
    """
    height = 300
    most = max((count for curve in curves for _, count in curve.points), default=1)
    frame = _Frame(width, height, max((curve.end_seconds for curve in curves), default=1.0), most)
    body = frame.axes()
    if len(curves) <= FEW_CURVES:  # the boundaries of many would hide the curves
        for curve in curves:
            body += frame.boundaries(curve)
    body += [frame.line(curve) for curve in curves]
    return picture(width, height, title, body, "timeline")


def phase_chart(curve: Curve, width: int, title: str) -> str:
    """One method over its own time and on its own scale, its phases named.

    Args:
        curve: the method.
        width: of the picture.
        title: for those who can't see it.

    Returns:
        An ``<svg>`` element.
    """
    lanes = 3
    height, top = 210 + 14 * lanes, 14 + 14 * lanes
    most = max((count for _, count in curve.points), default=1)
    frame = _Frame(width, height, curve.end_seconds, most, top)
    body = [*frame.axes(), *frame.boundaries(curve), frame.line(curve)]
    ends = [-math.inf] * lanes  # where the last label of each lane ends; a label takes the first free lane
    for name, seconds in curve.marks:
        x = frame.x(seconds)
        wide = 6.4 * len(name) + 8
        anchor, begin = ("end", x - wide) if x + wide > width else ("start", x)
        lane = next((i for i, end in enumerate(ends) if begin >= end), None)
        if lane is not None:
            ends[lane] = begin + wide
            body.append(text(x + (-3 if anchor == "end" else 3), 11 + 14 * lane, name, "phase", anchor))
    return picture(width, height, title, body, "timeline")
