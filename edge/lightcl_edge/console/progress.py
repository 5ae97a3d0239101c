"""A bar on a terminal, notes on stderr."""

import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple, TypeVar

from lightcl_edge.console.text import printable

T = TypeVar("T")
#: A program that reads progress gets a line this often at most.
_SECONDS_BETWEEN_LINES = 0.1


class Step(NamedTuple):  # dataclasses would make every command start 10 ms later
    """How far a long piece of work is: ``done`` of ``total`` items."""

    stage: str
    done: int
    total: int


class Progress:
    """A progress bar on a terminal but not in a pipe, and notes on stderr; neither when quiet.

    With ``for_program``, each note, phase and step is a JSON line on stderr, for a program that shows them.
    """

    def __init__(self, *, quiet: bool = False, for_program: bool = False) -> None:
        self.quiet, self._noted = quiet, set[str]()
        self._lines = for_program
        self._bar = not quiet and not for_program and sys.stderr.isatty()
        self._next_line = 0.0

    def note(self, message: str) -> None:
        """A line for the person who waits, on stderr."""
        if self._lines:
            self._line(note=message)
        elif not self.quiet:
            print(printable(message), file=sys.stderr, flush=True)

    def note_once(self, message: str) -> None:
        """As :meth:`note`; a second time it is silent."""
        if message not in self._noted:
            self._noted.add(message)
            self.note(message)

    def stage(self, message: str) -> None:
        """A line that says which long stage of work begins, where no bar shows it; never one a step."""
        if not self._bar:
            self.note(message)

    def phase(self, name: str) -> None:
        """A phase of the work begins; only programs are told."""
        if self._lines:
            self._line(phase=name)

    def track(self, items: Iterable[T], label: str, total: int | None = None) -> Iterator[T]:
        """Pass items through while a bar shows how far it is and how long is left."""
        if total is None and isinstance(items, Sequence):
            total = len(items)
        if not (self._bar or self._lines) or not total:
            yield from items
            return
        started = time.monotonic()
        for done, item in enumerate(items):
            left = (time.monotonic() - started) / done * (total - done) if done else None
            self._draw(label, done, total, left)
            yield item
        self._draw(label, total, total, 0.0)
        if self._bar:
            sys.stderr.write("\n")

    def show(self, label: str, done: int, total: int, seconds_left: float | None) -> None:
        """Draw the bar of work whose label changes on the way; end its line when all is done."""
        if (self._bar or self._lines) and total > 0:
            self._draw(label, done, total, seconds_left)
            if self._bar and done >= total:
                sys.stderr.write("\n")

    def _line(self, **content: object) -> None:
        print(json.dumps(content), file=sys.stderr, flush=True)

    def _draw(self, label: str, done: int, total: int, seconds_left: float | None) -> None:
        if self._lines:
            if done in (0, total) or time.monotonic() >= self._next_line:
                self._next_line = time.monotonic() + _SECONDS_BETWEEN_LINES
                self._line(step=label, done=done, total=total)
            return
        width = 28
        filled = width * done // total
        left = "" if seconds_left is None else f" {seconds_left:.0f} s left"
        bar = "#" * filled + "." * (width - filled)
        sys.stderr.write(f"\r{label:<24} [{bar}] {done}/{total}{left}\x1b[K")
        sys.stderr.flush()


class ReportedProgress(Progress):
    """Tells a function of an application instead of a person; what it raises ends the work."""

    def __init__(self, report: Callable[[Step], None]) -> None:
        super().__init__(quiet=True)
        self._report = report

    def track(self, items: Iterable[T], label: str, total: int | None = None) -> Iterator[T]:
        if total is None and isinstance(items, Sequence):
            total = len(items)
        done = 0
        for item in items:
            self._report(Step(label, done, total or 0))
            yield item
            done += 1
        self._report(Step(label, done, total or done))

    def show(self, label: str, done: int, total: int, seconds_left: float | None) -> None:
        self._report(Step(label, done, total))
