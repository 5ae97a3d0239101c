"""``STATE/journal.jsonl``: what happened, one JSON line an event, for a person. The program never acts on it."""

import json
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from lightcl_edge.files.durable import DurableFile, replace_durably
from lightcl_edge.files.plain import open_plain
from lightcl_edge.files.strict_json import parse_json

NAME = "journal.jsonl"
#: When the file grows beyond this, its older half is dropped.
MAX_JOURNAL_BYTES = 256 * 2**10


def note(folder: Path, event: str, **details: Any) -> None:
    """Add a line with details that JSON can carry. A disk that refuses it must not undo what the line tells of."""
    path = folder / NAME
    line = (json.dumps({"time": round(time.time(), 3), "event": event, **details}) + "\n").encode()
    with suppress(OSError):
        newer_half = _newer_half(path)
        if newer_half is not None:
            replace_durably(path, newer_half + line)
            return
        torn = path.exists() and path.stat().st_size > 0 and not _ends_a_line(path)
        with DurableFile(path, append=True) as file:
            file.write(b"\n" + line if torn else line)
            file.sync()


def read(folder: Path, last: int) -> list[dict[str, Any]]:
    """The newest events, oldest first, with ``time`` and ``event`` at least.

    Lines that a crash tore, or that this program never wrote, are left out.
    """
    found: list[dict[str, Any]] = []
    with suppress(OSError):
        with open_plain(folder / NAME) as file:
            data = file.read(2 * MAX_JOURNAL_BYTES)
        for line in data.splitlines():
            with suppress(ValueError, RecursionError):
                entry = parse_json(line)
                if isinstance(entry, dict) and isinstance(entry.get("event"), str) and _is_flat(entry, 3):
                    found.append(entry)
    return found[-last:]


def _is_flat(value: object, levels: int) -> bool:
    """Whether lists and objects are nested at most so deep, so that any printer gets to their end."""
    inner = list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else None
    return inner is None or (levels > 0 and all(_is_flat(item, levels - 1) for item in inner))


def erase_name(folder: Path, name: str) -> None:
    """Take a class's name out of every line; only lists of ``classes`` carry names."""
    path = folder / NAME
    if not path.exists():
        return
    entries = read(folder, 10**9)
    for entry in entries:
        if isinstance(entry.get("classes"), list):
            entry["classes"] = [known for known in entry["classes"] if known != name]
    replace_durably(path, "".join(json.dumps(entry) + "\n" for entry in entries).encode())


def _newer_half(path: Path) -> bytes | None:
    if not path.exists() or path.stat().st_size <= MAX_JOURNAL_BYTES:
        return None
    with open_plain(path) as file:
        file.seek(-MAX_JOURNAL_BYTES // 2, 2)
        return file.read().partition(b"\n")[2]


def _ends_a_line(path: Path) -> bool:
    with open_plain(path) as file:
        file.seek(-1, 2)
        return file.read(1) == b"\n"
