"""Sizes, counts, tables: what a person reads."""

import re
from collections.abc import Sequence
from typing import Any

from lightcl_edge.errors import UsageError

Document = dict[str, Any]

#: What a terminal would act on, and bytes of file names that are no UTF-8.
_UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")


def printable(text: str) -> str:
    """Text for a terminal: escapes for bytes that are no UTF-8 and for control characters but line ends and tabs."""
    return _UNPRINTABLE.sub(lambda found: ascii(found[0])[1:-1], text)


def format_bytes(count: float) -> str:
    """Bytes as a person reads them: ``1536`` -> ``1.5 KiB``."""
    size = float(count)
    for unit in ("B", "KiB", "MiB"):
        if abs(size) < 1024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} GiB"


def count(number: int, noun: str) -> str:
    """A number of things: ``1 class``, ``2 classes``, ``3 images``."""
    plural = f"{noun}es" if noun.endswith("s") else f"{noun}s"
    return f"{number} {noun if number == 1 else plural}"


def first_names(names: Sequence[str], width: int = 64) -> str:
    """Names in one line, as many as fit its width: ``cat, dog and 12 more``, or ``none``."""
    shown = list(names)
    while len(shown) > 1 and len(", ".join(shown)) > width:
        shown.pop()
    hidden = f" and {len(names) - len(shown)} more" if len(shown) < len(names) else ""
    return (", ".join(shown) or "none") + hidden


def shortened(text: str, width: int) -> str:
    """Text cut to a width, with three dots where its end was."""
    return text if len(text) <= width else f"{text[: width - 3]}..."


def parse_bytes(text: str) -> int:
    """A size as people write it (``256MiB``, ``2M``, ``1048576``) in bytes.

    Raises:
        UsageError: when it is not a positive size.
    """
    factors = {"": 1, "k": 2**10, "m": 2**20, "g": 2**30}
    stripped = text.strip().lower().removesuffix("ib").removesuffix("b")
    unit = stripped[-1:] if stripped[-1:] in ("k", "m", "g") else ""
    try:
        count = int(float(stripped.removesuffix(unit)) * factors[unit])
    except (ValueError, OverflowError):
        count = 0
    if count <= 0:
        raise UsageError(f"found {text!r} where a size was expected, such as 256MiB or 1048576")
    return count


def parse_memory(text: str) -> int:
    """An amount of memory in bytes, read by :func:`parse_bytes`; a small number needs a unit.

    Raises:
        UsageError: when it is no size, or below 1 MiB without a unit: who types 20 means 20 MiB, not 20 bytes.
    """
    size = parse_bytes(text)
    if size < 2**20 and text.strip()[-1:].isdecimal():
        raise UsageError(
            f"found {text.strip()!r} without a unit, which is {size} bytes; expected a size with one, such as 200MiB"
        )
    return size


def table(rows: Sequence[Sequence[str]], header: Sequence[str]) -> str:
    """Plain text columns, numbers to the right."""
    lines = [list(header), *[list(row) for row in rows]]
    widths = [max(len(line[i]) for line in lines) for i in range(len(header))]

    def cell(text: str, width: int) -> str:
        numeric = text[:1].isdigit() or (text[:1] in "-+" and text[1:2].isdigit())
        return text.rjust(width) if numeric else text.ljust(width)

    shown = ["  ".join(cell(text, width) for text, width in zip(line, widths, strict=True)) for line in lines]
    shown.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(line.rstrip() for line in shown)
