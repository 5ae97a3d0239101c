"""How a watched child talks to its parent: one JSON object a line, through an inherited pipe.

The child gets the pipe's number as its argument and its job as JSON on stdin. It sends ``phase``, ``note``, and at its
end one ``result`` or ``error``. :mod:`lightcl_profiler.measuring.watched_process` is the parent's side.
"""

import json
import os
import sys
import time
from collections.abc import Callable
from typing import IO, Any

from lightcl_edge.errors import LightclError


class Channel:
    """The child's end of the pipe."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream
        self.starts: list[tuple[str, float]] = []

    def send(self, event: str, **values: Any) -> None:
        """Send one event at once."""
        self._stream.write(json.dumps({"event": event, **values}) + "\n")
        self._stream.flush()

    def phase_started(self, name: str) -> None:
        """Tell that a phase starts, in seconds of the monotonic clock, which all processes of a machine share."""
        at = time.monotonic()
        self.starts.append((name, at))
        self.send("phase", name=name, at=at)

    def note(self, text: str) -> None:
        """Tell the person who waits."""
        self.send("note", text=text)


def answer(work: Callable[[dict[str, Any], Channel], dict[str, Any]]) -> int:
    """Do the job on stdin, send the values that ``work`` returns, and give the exit status.

    A user's error goes to the parent, a bug's traceback to stderr.
    """
    with os.fdopen(int(sys.argv[1]), "w", encoding="utf-8") as stream:
        channel = Channel(stream)
        try:
            result = work(json.load(sys.stdin), channel)
        except LightclError as error:
            channel.send("error", kind=error.kind, message=str(error))
            return int(error.exit_code)
        channel.send("result", **result)
    return 0
