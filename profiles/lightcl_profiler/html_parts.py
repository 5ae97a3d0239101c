"""Small parts that all HTML reports are made of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape
from importlib.resources import files

from lightcl_profiler.svg import COLOURS

_WIDE, _NARROW = 960, 360
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


def cards_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of cells that are HTML already; on a phone each row becomes a card.

    Args:
        header: plain text.
        rows: HTML, the first cell names the row.

    Returns:
        The table, in a box that scrolls where it is too wide.
    """
    head = "".join(f"<th>{escape(name)}</th>" for name in header)
    body = []
    for row in rows:
        cells = [f'<td class="name">{row[0]}</td>']
        pairs = zip(header[1:], row[1:], strict=True)
        cells += [f'<td class="figure" data-label="{escape(name)}"><span>{cell}</span></td>' for name, cell in pairs]
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
