"""Small parts that all HTML reports are made of."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from importlib.resources import files

from lightcl_profiler.reports.charts import COLOURS

_WIDE, _NARROW = 960, 360
_NO_BREAK = "\u00a0"
_BEFORE_UNIT = re.compile(r"(?<=\d) (?=(?:B|KiB|MiB|GiB|s|ms|GHz|degrees)\b|%)")
_POLICY = "default-src 'none'; style-src 'unsafe-inline'"


def tag(kind: str) -> str:
    """Where a figure comes from: measured, calculated or published."""
    return f'<span class="tag {kind}">{kind}</span>'


def key(colour: int, label: str) -> str:
    """A coloured square and its meaning."""
    return f'<span class="key c{colour % COLOURS}"></span>{escape(label)}'


def both_widths(draw: Callable[[int], str]) -> str:
    """A picture for wide and one for narrow screens; the style sheet shows one of them.

    Args:
        draw: width -> picture.

    Returns:
        Both.
    """
    return f'<div class="wide">{draw(_WIDE)}</div><div class="narrow">{draw(_NARROW)}</div>'


@dataclass(frozen=True)
class Column:
    """A column of a table of figures.

    Attributes:
        name: plain text.
        kind: where all its figures come from (measured, calculated, published); ``""`` for none or for several.
    """

    name: str
    kind: str = ""

    def head(self) -> str:
        """HTML above the column."""
        return escape(self.name) + (tag(self.kind) if self.kind else "")

    def label(self) -> str:
        """Before each figure on a phone, where no head is shown."""
        return escape(f"{self.name}, {self.kind}" if self.kind else self.name)


def columns(kind: str, *names: str) -> list[Column]:
    """Columns whose figures all come from the same."""
    return [Column(name, kind) for name in names]


def cards_table(header: Sequence[str | Column], rows: Sequence[Sequence[str]]) -> str:
    """A table of cells that are HTML already; on a phone each row becomes a card.

    Args:
        header: plain text, or columns that say where their figures come from.
        rows: HTML, the first cell names the row; a number and its unit stay on one line.

    Returns:
        The table, in a box that scrolls where it is too wide.
    """
    heads = [Column(each) if isinstance(each, str) else each for each in header]
    head = "".join(f"<th>{each.head()}</th>" for each in heads)
    body = []
    for row in rows:
        cells = [f'<td class="name">{row[0]}</td>']
        for each, cell in zip(heads[1:], row[1:], strict=True):
            kept = _BEFORE_UNIT.sub(_NO_BREAK, cell)
            cells.append(f'<td class="figure" data-label="{each.label()}"><span>{kept}</span></td>')
        body.append(f"<tr>{''.join(cells)}</tr>")
    table = f'<table class="cards"><thead><tr>{head}</tr></thead><tbody>{"".join(body)}</tbody></table>'
    return f'<div class="scroll">{table}</div>'


def pairs_table(lines: Sequence[tuple[str, str]]) -> str:
    """Names and values, plain text."""
    rows = "".join(f"<tr><th>{escape(name)}</th><td>{escape(value)}</td></tr>" for name, value in lines)
    return f"<table><tbody>{rows}</tbody></table>"


def page(title: str, lead: str, below: str, sections: Sequence[tuple[str, str]]) -> str:
    """A whole document that refers to nothing outside itself.

    Args:
        title: plain text.
        lead: plain text, the first sentence.
        below: HTML under it.
        sections: titles and HTML; empty ones are left out.

    Returns:
        For one file.
    """
    style = files("lightcl_profiler").joinpath("report.css").read_text(encoding="utf-8")
    body = "".join(f"<section><h2>{name}</h2>{content}</section>" for name, content in sections if content)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title>\n<style>\n{style}</style></head>\n<body><main>"
        f'<h1>{escape(title)}</h1><p class="lead">{escape(lead)}</p>{below}{body}</main></body></html>\n'
    )
