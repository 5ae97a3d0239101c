"""Runs ``lightcl-edge`` commands as child processes: their memory goes back, and their errors are documents."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from lightcl_edge.errors import (
    BundleError,
    DataError,
    DoesNotFitError,
    ExitCode,
    InterruptedTaskError,
    LightclError,
    NoEngineError,
    RejectedError,
    StateError,
    StorageError,
    UsageError,
)

#: What an exit code of a command is raised as.
_KINDS: dict[int, type[LightclError]] = {
    int(kind.exit_code): kind
    for kind in (
        *(UsageError, BundleError, DataError, DoesNotFitError, StateError),
        *(RejectedError, NoEngineError, StorageError, InterruptedTaskError),
    )
}
#: The last words of a child that broke, for a message.
_LAST_WORDS = 300


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int  # its exit code; negative for the signal that ended it
    document: dict[str, Any]  # that it printed
    last_words: str

    @property
    def kind(self) -> str:
        """The kind of the error, as in ``docs/reference/exit-codes.md``; empty when there is none."""
        return str(self._error.get("kind", ""))

    @property
    def message(self) -> str:
        """What went wrong, for a person."""
        if self.code < 0:
            killed = f"the process was ended by signal {-self.code} ({signal.strsignal(-self.code) or 'unknown'})"
            return f"{killed}; perhaps the board ran out of memory"
        problems = "; ".join(self.document.get("problems", []))
        return str(self._error.get("message") or problems or self.last_words or f"it ended with code {self.code}")

    def result(self) -> dict[str, Any]:
        """The document of a command that ended well. Raises the error of one that did not."""
        if self.code == ExitCode.DONE:
            return self.document
        raise _KINDS.get(self.code, UsageError)(self.message)

    @property
    def _error(self) -> dict[str, Any]:
        found = self.document.get("error")
        return found if isinstance(found, dict) else {}


class Child:
    """One running command."""

    def __init__(self, words: list[str], on_line: Callable[[dict[str, Any]], None] | None = None) -> None:
        command = [sys.executable, "-m", "lightcl_edge", *words, "--json"]
        self._on_line, self._last_words = on_line, ""
        self._process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
        )

    @property
    def pid(self) -> int:
        return self._process.pid

    def interrupt(self) -> None:
        """Ask it to end; a training then keeps its checkpoint."""
        with suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGTERM)

    def wait(self) -> Ended:
        """Read what it says until it ends."""
        reader = threading.Thread(target=self._read_lines, daemon=True)
        reader.start()
        out = self._process.stdout.read() if self._process.stdout else b""
        self._process.wait()
        reader.join()
        document: Any = None
        with suppress(ValueError):
            document = json.loads(out)
        return Ended(self._process.returncode, document if isinstance(document, dict) else {}, self._last_words)

    def _read_lines(self) -> None:
        for raw in self._process.stderr or ():
            text = raw.decode(errors="replace").strip()
            self._last_words = text[:_LAST_WORDS] or self._last_words
            with suppress(ValueError):
                line = json.loads(text)
                if isinstance(line, dict) and self._on_line is not None:
                    self._on_line(line)


def run_command(words: list[str]) -> Ended:
    """Run a command to its end."""
    return Child(words).wait()
