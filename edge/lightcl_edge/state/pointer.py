"""``STATE/CURRENT``: which generation counts, and which is the newest that ever did."""

import re
from dataclasses import dataclass
from pathlib import Path

from lightcl_edge.files.durable import replace_durably
from lightcl_edge.files.plain import read_limited

NAME = "CURRENT"
#: Six digits, as in the folders' names.
MAX_NUMBER = 999_999
_CONTENT = re.compile(rb"(\d{1,6}) (\d{1,6})\s*")


@dataclass(frozen=True)
class Pointer:
    """The content of ``CURRENT``."""

    current: int  # the generation in use; 0 is the bundle as exported
    newest: int  # the last that was committed; one on disk beyond it was never finished


def read_pointer(folder: Path) -> Pointer | None:
    """The pointer of a state directory, or None when it is missing or damaged."""
    try:
        found = _CONTENT.fullmatch(read_limited(folder / NAME, 64))
    except (OSError, ValueError):
        return None
    if found is None or int(found[2]) < int(found[1]):
        return None
    return Pointer(int(found[1]), int(found[2]))


def write_pointer(folder: Path, pointer: Pointer) -> None:
    """Switch to another generation, all at once."""
    replace_durably(folder / NAME, f"{pointer.current} {pointer.newest}\n".encode())
