"""Finished parts of an analysis on disk, so that an interrupted analysis goes on where it stopped."""

import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lightcl_edge.files.durable import replace_durably

Part = dict[str, Any]


class FinishedParts:
    """A folder with a JSON file for each finished part.

    ``about`` is all that the parts depend on. Parts that were made from other values are not used.
    """

    def __init__(self, folder: Path, about: Part) -> None:
        self._folder = folder
        self._key = hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()

    def _path(self, name: str) -> Path:
        digest = hashlib.sha256(f"{self._key}:{name}".encode()).hexdigest()[:16]
        return self._folder / f"{re.sub(r'[^A-Za-z0-9.]+', '-', name)[:60]}-{digest}.json"

    def find(self, name: str) -> Part | None:
        """The part, or None when it is not finished or its file is damaged."""
        try:
            note = json.loads(self._path(name).read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            return None
        if not isinstance(note, dict) or note.get("key") != self._key or not isinstance(note.get("part"), dict):
            return None
        part: Part = note["part"]
        return part

    def get(self, name: str, make: Callable[[], Part]) -> Part:
        """The part, made now if it is not finished yet.

        It is returned as JSON gives it back. So a new part and one that was read are equal to the last bit.
        """
        found = self.find(name)
        if found is not None:
            return found
        text = json.dumps({"key": self._key, "part": make()}, allow_nan=False)
        self._folder.mkdir(parents=True, exist_ok=True)
        replace_durably(self._path(name), text.encode())
        part: Part = json.loads(text)["part"]
        return part
