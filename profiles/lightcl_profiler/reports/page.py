"""Pages made from the templates: files that refer to nothing outside themselves, every text from outside escaped.

jinja2 is imported only here, so only where something is rendered.
"""

import re
import zlib
from functools import cache
from typing import Any, NamedTuple

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from lightcl_edge.console.text import format_bytes
from lightcl_profiler.reports.plot import colour_class

_SPACE_BEFORE_UNIT = re.compile(r"(?<=\d) (?=(?:B|KiB|MiB|GiB|s|ms|GHz|degrees)\b|%)")
_NO_BREAK = "\u00a0"


class Column(NamedTuple):
    """A column of a table; ``kind`` says where its figures come from: measured, calculated, published, or ""."""

    name: str
    kind: str = ""

    @property
    def label(self) -> str:
        """Before each figure on a phone, where no head is shown."""
        return f"{self.name}, {self.kind}" if self.kind else self.name


class Table(NamedTuple):
    """Rows of text, or of HTML marked as such; the first cell names the row."""

    columns: list[Column]
    rows: list[list[str]]


def columns(kind: str, *names: str) -> list[Column]:
    """Columns whose figures all come from the same."""
    return [Column(name, kind) for name in names]


def without_empty(table: Table) -> Table:
    """The table without columns in which no row has anything."""
    kept = [at for at in range(len(table.columns)) if not at or any(row[at] for row in table.rows)]
    return Table([table.columns[at] for at in kept], [[row[at] for at in kept] for row in table.rows])


def with_note(figure: str, note: str) -> str:
    """A figure with a smaller line below it; as it is when the note is empty."""
    return Markup('{}<span class="range">{}</span>').format(figure, note) if note else figure


def render(template: str, package: str = "lightcl_profiler.reports", **values: Any) -> str:
    """A whole page: a template of the package's folder ``templates``, filled with the values."""
    return _environment(package).get_template(template).render(values)


@cache
def _environment(package: str) -> Environment:
    loaders = [PackageLoader(name) for name in dict.fromkeys((package, "lightcl_profiler.reports"))]
    environment = Environment(
        loader=ChoiceLoader(loaders),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "bytes": format_bytes,
        "colour": colour_class,
        "keep_units": _keep_units,
        "card_class": _card_class,
        "card_labels": _card_labels,
    }
    return environment


def _card_class(table: Table) -> str:
    """A name for the labels that a table shows on a phone; tables with the same columns share it."""
    return f"t{zlib.crc32(repr(table.columns).encode()):08x}"


def _card_labels(table: Table) -> Markup:
    """The style that writes the name of its column before each figure."""
    name = _card_class(table)
    rules = [
        f'.{name} td:nth-child({at})::before{{content:"{_css_text(each.label)}"}}'
        for at, each in enumerate(table.columns[1:], 2)
    ]
    return Markup("@media(max-width:640px){{{}}}").format(Markup("".join(rules)))  # noqa: S704 - escaped above


def _css_text(text: str) -> str:
    """Text as a string of a style sheet, with everything but plain letters, digits and spaces escaped."""
    return "".join(c if c.isascii() and (c.isalnum() or c in " ,.-") else f"\\{ord(c):x} " for c in text)


def _keep_units(cell: str) -> str:
    """A number and its unit stay on one line."""
    return type(cell)(_SPACE_BEFORE_UNIT.sub(_NO_BREAK, cell))
