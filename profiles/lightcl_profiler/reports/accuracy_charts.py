"""Accuracy as inline SVG: over the tasks, and against memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lightcl_profiler.reports.charts import COLOURS, nice_step, picture, text

_MIB = 2**20
_HEIGHT = 320
_LABEL_HEIGHT, _LETTER_WIDTH = 13.0, 6.4
#: The chart's title is above this; a label further away than ``_NEAR`` gets a line to its point.
_LABELS_BELOW, _NEAR = 20, 12


@dataclass(frozen=True)
class Series:
    """A method's accuracy.

    Attributes:
        label: the method.
        colour: index of its colour.
        shares: after each task, 0 to 1.
        peak_bytes: its memory.
    """

    label: str
    colour: int
    shares: Sequence[float]
    peak_bytes: int


class _Plane:
    """Accuracy upwards in percent, anything to the right; the scale ends above the best accuracy."""

    def __init__(self, width: int, right_margin: int, low: float, high: float, series: Sequence[Series]) -> None:
        self.left, self.right, self.top, self.bottom = 40, width - right_margin, 26, _HEIGHT - 38
        self._low, self._high = low, max(high, low + 1e-9)
        best = 100 * max((share for each in series for share in each.shares), default=1.0)
        self._step = nice_step(max(best, 1.0), 5)
        self._most = self._step * -(-max(best, 1.0) // self._step)

    def x(self, value: float) -> float:
        return self.left + (self.right - self.left) * (value - self._low) / (self._high - self._low)

    def y(self, share: float) -> float:
        return self.bottom - (self.bottom - self.top) * 100 * share / self._most

    def frame(self, below: str) -> list[str]:
        body = [text(0, self.top - 12, "accuracy, %", "axis"), text(self.right, _HEIGHT - 4, below, "axis", "end")]
        for percent in (self._step * i for i in range(round(self._most / self._step) + 1)):
            y = self.y(percent / 100)
            body.append(f'<line x1="{self.left}" x2="{self.right}" y1="{y:.1f}" y2="{y:.1f}" class="grid"/>')
            body.append(text(self.left - 6, y + 4, f"{percent:g}", "axis", "end"))
        return body


def tasks_chart(series: Sequence[Series], width: int, title: str) -> str:
    """Accuracy over all classes seen so far, after each task.

    Args:
        series: the methods; one with a single value stands at the last task.
        width: of the picture.
        title: for those who can't see it.

    Returns:
        An ``<svg>`` element.
    """
    tasks = max((len(each.shares) for each in series), default=1)
    plane = _Plane(width, 10, 1, tasks, series)
    body = plane.frame("tasks learned")
    body += [text(plane.x(task), plane.bottom + 16, str(task), "axis", "middle") for task in range(1, tasks + 1)]
    for each in series:
        first = tasks - len(each.shares) + 1
        points = [(plane.x(first + i), plane.y(share)) for i, share in enumerate(each.shares)]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        body.append(f'<polyline points="{path}" class="line c{each.colour % COLOURS}"/>')
        body += [_dot(x, y, each.colour) for x, y in points]
    return picture(width, _HEIGHT, title, body, "timeline")


def memory_chart(series: Sequence[Series], width: int, title: str) -> str:
    """Final accuracy against peak memory: up and to the left is better.

    Args:
        series: the methods.
        width: of the picture.
        title: for those who can't see it.

    Returns:
        An ``<svg>`` element.
    """
    most = max((each.peak_bytes for each in series), default=_MIB) / _MIB
    plane = _Plane(width, 12, 0, most * 1.08, [Series(each.label, 0, each.shares[-1:], 0) for each in series])
    body = plane.frame("peak resident memory, MiB")
    step = nice_step(most * 1.08, 8 if width > 500 else 4)
    ticks = [step * i for i in range(int(most * 1.08 / step) + 1)]
    body += [text(plane.x(value), plane.bottom + 16, f"{value:g}", "axis", "middle") for value in ticks]
    places = [(plane.x(each.peak_bytes / _MIB), plane.y(each.shares[-1])) for each in series]
    taken = [Box(x - 5, y - 5, x + 5, y + 5) for x, y in places]
    for each, (x, y) in sorted(zip(series, places, strict=True), key=lambda pair: -pair[0].shares[-1]):
        body += [_dot(x, y, each.colour), *label_of_point(x, y, each.label, each.colour, taken, width)]
    return picture(width, _HEIGHT, title, body, "timeline")


def _dot(x: float, y: float, colour: int) -> str:
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" class="fill c{colour % COLOURS}"/>'


@dataclass(frozen=True)
class Box:
    """A rectangle in a picture."""

    left: float
    top: float
    right: float
    bottom: float

    def meets(self, other: Box) -> bool:
        """Whether both have a point in common."""
        beside = self.right <= other.left or other.right <= self.left
        return not beside and self.top < other.bottom and other.top < self.bottom


def label_of_point(x: float, y: float, label: str, colour: int, taken: list[Box], width: int) -> list[str]:
    """A point's name where nothing else is, with a line to the point where that is further away.

    Args:
        x: of the point.
        y: of the point.
        label: its name.
        colour: of the line.
        taken: labels and points so far; the label is added.
        width: of the picture, which is as high as those of this module.

    Returns:
        Elements.
    """
    box = place_label(x, y, _LETTER_WIDTH * len(label), taken, width)
    taken.append(box)
    body = []
    if abs((box.top + box.bottom) / 2 - y) > _NEAR:
        start = min(max(x, box.left), box.right)
        edge = box.top if box.top > y else box.bottom
        ends = f'x1="{x:.1f}" y1="{y:.1f}" x2="{start:.1f}" y2="{edge:.1f}"'
        body.append(f'<line {ends} class="leader c{colour % COLOURS}"/>')
    return [*body, text(box.left, box.bottom - 3, label, "value")]


def place_label(x: float, y: float, wide: float, taken: Sequence[Box], width: int) -> Box:
    """A free place for a point's label: beside it, else ever further above or below.

    Args:
        x: of the point.
        y: of the point.
        wide: of the label.
        taken: labels and points so far.
        width: of the picture.

    Returns:
        Where the label goes; right of the point if all places within reach are taken.
    """
    half = _LABEL_HEIGHT / 2
    fallback = Box(x + 8, y - half, x + 8 + wide, y + half)
    for away in (0, *(sign * step for step in range(4, 160, 4) for sign in (1, -1))):
        for start in (x + 8, x - 8 - wide, x - wide / 2):
            box = Box(start, y + away - half, start + wide, y + away + half)
            inside = box.left >= 0 and box.right <= width and box.top >= _LABELS_BELOW and box.bottom <= _HEIGHT - 38
            if inside and not any(box.meets(other) for other in taken):
                return box
    return fallback
