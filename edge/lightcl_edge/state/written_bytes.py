"""How many bytes a state directory has cost its disk, through crashes, rejected runs and rollbacks.

``STATE/written.json`` holds the figures. While a process works, the file runs ahead by up to ``RESERVED_BYTES``; it is
set right at the end. A process that is killed leaves the figure that ran ahead, so the total is never too small.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated

from lightcl_edge.files.durable import counting, replace_durably
from lightcl_edge.files.records import between, read_record
from lightcl_edge.files.strict_json import read_json

NAME = "written.json"
RESERVED_BYTES = 4 * 2**20
#: No disk has taken more; a larger figure is damage.
Bytes = Annotated[int, between(0, 2**60)]


@dataclass(frozen=True)
class Written:
    """What was written: since the state was made, by the present task in all its runs, by the last task that ended."""

    total_bytes: Bytes = 0
    task_bytes: Bytes = 0
    last_task_bytes: Bytes = 0


def read_written(folder: Path) -> Written:
    """The figures of a state directory: all 0 when there is no readable file.

    Beside a running process, or after a killed one, they are not less than what was really written.
    """
    return _read(folder) or Written()


def _read(folder: Path) -> Written | None:
    with suppress(OSError, ValueError):
        return read_record(Written, read_json(folder / NAME), NAME, ValueError, complete=True)
    return None


class ByteCounter:
    """Counts what this process writes while it holds a state."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / NAME
        found = _read(folder)
        #: The file is there, but its figures can't be believed: counting starts anew.
        self.lost = found is None and self._path.exists()
        self._exact = found or Written()
        self._promised_bytes = self._exact.total_bytes
        self._saving, self._changed, self._for_a_task = False, False, True

    @property
    def written(self) -> Written:
        """The figures now."""
        return self._exact

    @contextmanager
    def running(self) -> Iterator[None]:
        """Count every write inside, and leave the exact figures at the end."""
        with counting(self.add):
            try:
                yield
            finally:
                if self._changed:
                    with suppress(OSError):  # a full disk leaves the figure that ran ahead, which is safe
                        self._save(0)

    def add(self, count: int) -> None:
        """Count some bytes that are about to be written; when they pass the file's figure, that moves ahead first."""
        now, self._changed = self._exact, True
        self._exact = replace(now, total_bytes=now.total_bytes + count, task_bytes=now.task_bytes + count)
        if not self._saving and self._exact.total_bytes > self._promised_bytes:
            self._save(RESERVED_BYTES)

    def end_task(self) -> int:
        """A task is over; gives the bytes it wrote."""
        now, self._changed = self._exact, True
        self._exact = replace(now, task_bytes=0, last_task_bytes=now.task_bytes)
        return now.task_bytes

    def no_task(self) -> None:
        """What was written since the last task ended was for no task: only the total keeps it."""
        self._exact, self._for_a_task = replace(self._exact, task_bytes=0), False

    def _save(self, ahead_bytes: int) -> None:
        """Write the figures plus what may follow, their own bytes among it."""
        self._saving = True
        try:
            size = 0
            while (data := self._data(ahead_bytes + size)) and len(data) != size:
                size = len(data)
            self._promised_bytes = self._exact.total_bytes + ahead_bytes + size
            replace_durably(self._path, data)
        finally:
            self._saving = False

    def _data(self, ahead_bytes: int) -> bytes:
        now = self._exact
        task_bytes = now.task_bytes + ahead_bytes if self._for_a_task else 0
        shown = replace(now, total_bytes=now.total_bytes + ahead_bytes, task_bytes=task_bytes)
        return (json.dumps(asdict(shown)) + "\n").encode()
