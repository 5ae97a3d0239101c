"""Files that others are still writing, and those that are whole."""

import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path


class SettlingFiles:
    """A file is whole once its size and time have stayed the same for ``settle_seconds``."""

    def __init__(self, settle_seconds: float) -> None:
        self._settle = settle_seconds
        self._seen: dict[Path, tuple[tuple[int, int], float]] = {}

    def whole(self, paths: Iterable[Path], now: float | None = None) -> dict[Path, float]:
        """Those of the files that are whole: path -> seconds since it was last seen to change, in the order given."""
        moment = time.monotonic() if now is None else now
        seen: dict[Path, tuple[tuple[int, int], float]] = {}
        for path in paths:
            with suppress(FileNotFoundError):
                about = path.stat()
                state = about.st_size, about.st_mtime_ns
                before = self._seen.get(path)
                seen[path] = before if before is not None and before[0] == state else (state, moment)
        self._seen = seen
        return {path: moment - since for path, (_, since) in seen.items() if moment - since >= self._settle}
