"""``STATE/update.json``: bundles that came over the air. A damaged record counts as none: predictions go on."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated

from lightcl_edge.files.durable import replace_durably
from lightcl_edge.files.records import NOT_NEGATIVE, hexadecimal, read_record
from lightcl_edge.files.strict_json import read_json

NAME = "update.json"
_MOST_REPLACED = 64
Count = Annotated[int, NOT_NEGATIVE]
Identity = Annotated[str, hexadecimal(64)]


@dataclass(frozen=True)
class Trial:
    """A bundle that has not predicted yet."""

    identity: Identity
    number: Count  # of its offer
    back: Count  # the generation to go back to
    starts: Count = 0  # each is counted before it begins


@dataclass(frozen=True)
class Updates:
    """The content of ``update.json``."""

    trial: Trial | None = None
    failed: Count = 0  # the newest offer that failed here
    reason: str = ""  # why
    replaced: list[Identity] = field(default_factory=list)  # bundles that were in use before, oldest first

    def with_replaced(self, identity: str) -> list[str]:
        return [*(each for each in self.replaced if each != identity), identity][-_MOST_REPLACED:]


def read_updates(folder: Path) -> Updates:
    """The record of a state directory."""
    try:
        return read_record(Updates, read_json(folder / NAME), "", ValueError, complete=True)
    except (OSError, ValueError):
        return Updates()


def write_updates(folder: Path, updates: Updates) -> None:
    replace_durably(folder / NAME, (json.dumps(asdict(updates), indent=1) + "\n").encode())
