"""``STATE/board.json``: who this board is among others, what it shared last, and which classes were erased.

It belongs to the state and not to a generation: a version is never used twice, and a rollback brings no erased class
back. An erased class is named by a hash, because its name must not be kept.

Erasures of a class are counted. ``forget`` takes it out of every generation, so whatever a state knows of a class was
taught after the last erasure that it knows of. What a board taught that knew of fewer erasures is older: it is dropped.
"""

import json
import re
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Annotated

from lightcl_edge.errors import StateError, UsageError
from lightcl_edge.files.durable import replace_durably
from lightcl_edge.files.records import Check, between, read_record
from lightcl_edge.files.strict_json import read_json

NAME = "board.json"
#: Folder of a state with what this board shared, by version, for as long as a pool may count it.
KEPT = "shared"
MAX_BOARD_NAME = 64
#: A board makes a version when it shares something new, so no honest one comes near this.
MAX_VERSION = 2**53 - 1
MAX_ERASURES = 2**31
#: Classes of which a fleet remembers that they were erased.
MAX_ERASED_CLASSES = 65_536
#: So many of them by others, so that this board's own always find room.
MOST_ERASED_BY_OTHERS = 60_000
_NAME = re.compile(rf"[A-Za-z0-9][A-Za-z0-9._-]{{0,{MAX_BOARD_NAME - 1}}}")
_HASH = re.compile("[0-9a-f]{32}")
_EXPECTED = f"1 to {MAX_BOARD_NAME} letters, digits, dots, dashes or underscores, a letter or digit first"


def is_board_name(name: str) -> bool:
    return _NAME.fullmatch(name) is not None


_IS_NAME = Check(is_board_name, _EXPECTED)
_ARE_ERASED = Check(
    lambda erased: len(erased) <= MAX_ERASED_CLASSES and all(map(_HASH.fullmatch, erased)),
    f"at most {MAX_ERASED_CLASSES:,} hashes of class names",
)
#: Name of a board in a record.
BoardName = Annotated[str, _IS_NAME]
#: Hash of a class's name -> how often the class was erased.
Erased = Annotated[dict[str, Annotated[int, between(1, MAX_ERASURES)]], _ARE_ERASED]


@dataclass(frozen=True)
class Board:
    """The content of ``board.json``."""

    name: BoardName | None = None  # None before it is first needed
    version: Annotated[int, between(0, MAX_VERSION)] = 0  # of what was shared last; 0 before anything was
    digest: str = ""  # SHA-256 of what was shared last
    erased: Erased = field(default_factory=dict)


def read_board(folder: Path) -> Board:
    """The record of a state; a new one where there is none. A damaged one is a StateError."""
    path = folder / NAME
    if not path.exists():
        return Board()
    try:
        return read_record(Board, read_json(path), "", ValueError, "all of its keys", complete=True)
    except (OSError, ValueError) as error:
        raise StateError(
            f"{path} is damaged ({error}); restore a copy of it, or remove it: others then take this for a new board"
        ) from error


def write_board(folder: Path, board: Board) -> None:
    """Replace the record; the state's lock must be held."""
    replace_durably(folder / NAME, (json.dumps(asdict(board), indent=1, sort_keys=True) + "\n").encode())


def named(board: Board, asked: str | None) -> Board:
    """The board with its name: the one it has, else the one asked for, else a random one.

    Raises UsageError when the name can't be one, or the board has another one already.
    """
    if asked is not None and not is_board_name(asked):
        raise UsageError(f"the board name {asked[:80]!a} can't be one; expected {_EXPECTED}")
    if board.name is None:
        return replace(board, name=asked or f"board-{secrets.token_hex(4)}")
    if asked not in (None, board.name):
        raise UsageError(
            f"this board is called {board.name!r}, found --board {asked}; a board keeps its name, or others would "
            "count what it taught twice"
        )
    return board


def with_erased(board: Board, erased: Mapping[str, int]) -> Board:
    """The board with the erasures that others know of."""
    return replace(board, erased=all_erased(board.erased, erased))


def all_erased(erased: Mapping[str, int], more: Mapping[str, int]) -> dict[str, int]:
    """How often each class was erased, as two know it together: the larger number counts."""
    return {**erased, **{key: max(count, erased.get(key, 0)) for key, count in more.items()}}
