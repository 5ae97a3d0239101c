"""The frame of every picture: a linear scale on each side, drawn as inline SVG.

Colours are the classes ``c0`` to ``c11`` of report.css, so that one picture serves light and dark. Curves and dots are
written once, in the picture of :data:`WIDE` pixels. A narrower picture of the same page shows them squeezed.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise

from markupsafe import Markup

COLOURS = 12
#: Widths of the two pictures on a page, for a screen and for a phone.
WIDE, NARROW = 960, 360
#: A line of more points is thinned to two in each stretch of so many pixels: at most 138 on a picture of 960 pixels.
_FEW_POINTS, _STRETCH = 100, 13
_LEFT, _RIGHT = 48, 12
_LABEL_HEIGHT, _LETTER_WIDTH = 13.0, 6.4
#: A label further away from its point than this gets a line to it.
_NEAR = 12
_RADIUS = 5
#: Dots by their radius in pixels: the style sheet's classes.
_DOTS = {3: "dot small", 4: "dot", 7: "dot large"}


def colour_class(index: int) -> str:
    """The style sheet's class of a colour."""
    return f"c{index % COLOURS}"


def nice_step(span: float, steps: int) -> float:
    """A round step (1, 2 or 5 times a power of ten) that divides ``span`` into at most ``steps`` parts."""
    raw = max(span, 1e-9) / steps
    power = 10.0 ** math.floor(math.log10(raw))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= raw * (1 - 1e-9))


def thin(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Both ends of a long line, and between them the lowest and the highest point of each stretch of pixels.

    A point that lies level between its neighbours is left out.
    """
    if len(points) > _FEW_POINTS:
        kept = [points[0]]
        for _, stretch in groupby(points, key=lambda point: point[0] // _STRETCH):
            part = list(stretch)
            ends = {min(part, key=lambda point: point[1]), max(part, key=lambda point: point[1])}
            kept += sorted(ends - {kept[-1]})
        points = kept if kept[-1] == points[-1] else [*kept, points[-1]]
    between = zip(points, points[1:], points[2:], strict=False)
    turns = [point for before, point, after in between if not before[1] == point[1] == after[1]]
    return [*points[:1], *turns, *points[1:][-1:]]


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

    def holds(self, other: Box) -> bool:
        """Whether the other lies inside."""
        across = self.left <= other.left and other.right <= self.right
        return across and self.top <= other.top and other.bottom <= self.bottom


def place_label(x: float, y: float, wide: float, taken: Sequence[Box], inside: Box) -> Box:
    """A free place for a point's label: beside the point, else ever further above or below.

    Right of the point when all places within reach are taken.
    """
    half = _LABEL_HEIGHT / 2
    for away in (0, *(sign * step for step in range(4, 160, 4) for sign in (1, -1))):
        for start in (x + 8, x - 8 - wide, x - wide / 2):
            box = Box(start, y + away - half, start + wide, y + away + half)
            if inside.holds(box) and not any(box.meets(other) for other in taken):
                return box
    return Box(x + 8, y - half, x + 8 + wide, y + half)


class Plot:
    """A picture that grows with each call."""

    def __init__(
        self,
        width: int,
        height: int,
        across: tuple[float, float],
        up: tuple[float, float],
        top: int = 26,
        bottom: int = 38,
    ) -> None:
        self.width, self.height = width, height
        self.left, self.right, self.top, self.bottom = _LEFT, width - _RIGHT, top, height - bottom
        self.across, self.up = across, up
        self.taken = [Box(0, 0, self.left, height)]
        self._body: list[Markup] = []
        self._shared: list[Markup] = []

    def x(self, value: float) -> float:
        """Where a value of the axis across is."""
        low, high = self.across
        return self.left + (self.right - self.left) * (value - low) / max(high - low, 1e-9)

    def y(self, value: float) -> float:
        """Where a value of the axis up is."""
        low, high = self.up
        return self.bottom - (self.bottom - self.top) * (value - low) / max(high - low, 1e-9)

    def _wide_x(self, value: float) -> float:
        """Where a value of the axis across is in the wide picture."""
        return _LEFT + (self.x(value) - _LEFT) * (WIDE - _RIGHT - _LEFT) / (self.right - _LEFT)

    def add(self, element: str, *values: object) -> None:
        """An SVG element; what stands for its ``{}`` is escaped, numbers are rounded to a tenth of a pixel."""
        self._body.append(_element(element, values))

    def text(self, x: float, y: float, content: str, kind: str, anchor: str = "start") -> None:
        """Text at a place of the picture."""
        where = "" if anchor == "start" else Markup(' text-anchor="{}"').format(anchor)
        self.add('<text x="{}" y="{}" class="{}"{}>{}</text>', float(x), float(y), kind, where, content)

    def horizontal(self, value: float, kind: str) -> None:
        """A line from left to right."""
        self.add('<path d="M{},{}H{}" class="{}"/>', self.left, self.y(value), self.right, kind)

    def verticals(self, values: Iterable[float], kind: str) -> None:
        """Lines from top to bottom."""
        path = "".join(f"M{round(self.x(value), 1):g},{self.top}V{self.bottom}" for value in values)
        self.add('<path d="{}" class="{}"/>', path, kind)

    def curve(self, points: Iterable[tuple[float, float]], colour: int) -> None:
        """A line through values, thinned."""
        places = thin([(round(self._wide_x(value), 1), round(self.y(height), 1)) for value, height in points])
        steps = [f"{x - before_x:.4g},{y - before_y:.4g}" for (before_x, before_y), (x, y) in pairwise(places)]
        for x, y in places[:1]:
            path = (x, y, " ".join(steps), colour_class(colour))
            self._shared.append(_element('<path d="M{},{}l{}" class="line {}"/>', path))

    def spans(self, ends: Iterable[tuple[float, float, float]], colour: int) -> None:
        """Upright bars, each a value across and from where to where it goes up."""
        at = [(self._wide_x(value), self.y(low), self.y(high)) for value, low, high in ends]
        path = "".join(f"M{x:.4g},{low:.4g}V{high:.4g}" for x, low, high in at)
        if path:
            self._shared.append(_element('<path d="{}" class="line {}"/>', (path, colour_class(colour))))

    def dots(self, points: Iterable[tuple[float, float]], colour: int, hint: str = "", radius: int = 4) -> None:
        """Points that names have to keep away from; the hint appears when one is pointed at."""
        path = ""
        for value, height in points:
            x, y = self.x(value), self.y(height)
            self.taken.append(Box(x - _RADIUS, y - _RADIUS, x + _RADIUS, y + _RADIUS))
            path += f"M{self._wide_x(value):.4g},{y:.4g}h0"
        title = Markup("<title>{}</title>").format(hint) if hint else ""
        dots = (path, _DOTS[radius], colour_class(colour), title)
        self._shared.append(_element('<path d="{}" class="{} {}">{}</path>', dots))

    def name_point(self, value: float, height: float, label: str, colour: int) -> None:
        """A point's name where nothing else is, with a line to the point when that is further away."""
        x, y = self.x(value), self.y(height)
        inside = Box(self.left, self.top - 6, self.width, self.bottom)
        box = place_label(x, y, _LETTER_WIDTH * len(label), self.taken, inside)
        self.taken.append(box)
        if abs((box.top + box.bottom) / 2 - y) > _NEAR:
            start, edge = min(max(x, box.left), box.right), box.top if box.top > y else box.bottom
            self.add('<path d="M{},{}L{},{}" class="leader {}"/>', x, y, start, edge, colour_class(colour))
        self.text(box.left, box.bottom - 3, label, "value")

    def rows(self, name: str, show: str = "g") -> None:
        """Lines across at round values, their numbers left of them, and what they are above."""
        self.text(0, self.top - 12, name, "axis")
        for value in _round_values(self.up, 5):
            self.horizontal(value, "grid")
            self.text(self.left - 6, self.y(value) + 4, format(value, show), "axis", "end")

    def numbers(self, name: str, values: Iterable[float] | None = None) -> None:
        """Numbers below, at round values unless given, and what they are."""
        shown = _round_values(self.across, max((self.right - self.left) // 80, 4)) if values is None else values
        for value in shown:
            self.text(self.x(value), self.bottom + 16, f"{value:g}", "axis", "middle")
        self.text(self.right, self.bottom + 32, name, "axis", "end")

    def svg(self, title: str, kind: str = "timeline") -> Markup:
        """The picture; the title is for those who can't see it."""
        head = Markup('<svg class="{}" viewBox="0 0 {} {}" role="img" aria-label="{}">\n{}\n</svg>')
        return head.format(kind, self.width, self.height, title, Markup("\n").join([*self._body, *self._shapes()]))

    def _shapes(self) -> list[Markup]:
        """Curves and dots in the wide picture, a reference to them in a narrower one."""
        shapes = Markup("\n").join(self._shared)
        if not shapes:
            return []
        name = f"p{zlib.crc32(shapes.encode()):08x}"
        if self.width == WIDE:
            return [Markup('<g id="{}">{}</g>').format(name, shapes)]
        scale = (self.right - _LEFT) / (WIDE - _RIGHT - _LEFT)
        where = f"matrix({scale:.5g} 0 0 1 {_LEFT * (1 - scale):.5g} 0)"
        return [Markup('<use href="#{}" transform="{}"/>').format(name, where)]


def _element(element: str, values: Iterable[object]) -> Markup:
    shown = [f"{round(value, 1):g}" if isinstance(value, float) else value for value in values]
    return Markup(element).format(*shown)  # noqa: S704 - elements are written in this program


def _round_values(ends: tuple[float, float], steps: int) -> list[float]:
    """Multiples of a round step between the ends."""
    low, high = ends
    step = nice_step(high - low, steps)
    return [step * i for i in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]
