"""How many bytes a state directory has cost its disk, through crashes, rejected runs and rollbacks.

``STATE/written.json`` holds the figures. While a process works, the file runs ahead by up to ``RESERVED_BYTES``; it is
set right at the end. A process that is killed leaves the figure that ran ahead, so the total is never too small.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

from lightcl_edge.files.durable import WriteCount, counting, replace_durably
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
        before = found or Written()
        self.count = WriteCount(before.total_bytes, lambda: self._save(RESERVED_BYTES))
        #: The total when the present task began; None when what is written is for no task.
        self._task_start: int | None = before.total_bytes - before.task_bytes
        self._last_task_bytes = before.last_task_bytes

    @property
    def written(self) -> Written:
        """The figures now."""
        return self._figures(0)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Count every write inside, and leave the exact figures at the end."""
        with counting(self.count):
            try:
                yield
            finally:
                with suppress(OSError):  # a full disk leaves the figure that ran ahead, which is safe
                    self._save(0)

    def end_task(self) -> int:
        """A task is over; gives the bytes it wrote."""
        self._last_task_bytes = self.written.task_bytes
        self._task_start = self.count.total_bytes
        return self._last_task_bytes

    def no_task(self) -> None:
        """What was written since the last task ended was for no task: only the total keeps it."""
        self._task_start = None

    def _figures(self, ahead_bytes: int) -> Written:
        total = self.count.total_bytes + ahead_bytes
        return Written(total, 0 if self._task_start is None else total - self._task_start, self._last_task_bytes)

    def _save(self, ahead_bytes: int) -> None:
        """Write the figures plus what may follow, their own bytes among it."""
        size = 0
        while len(data := (json.dumps(asdict(self._figures(ahead_bytes + size))) + "\n").encode()) != size:
            size = len(data)
        self.count.promised_bytes = self.count.total_bytes + ahead_bytes + size
        replace_durably(self._path, data)
