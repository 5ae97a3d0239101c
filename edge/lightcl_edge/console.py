"""What all commands share: parsing, one JSON document or readable text, errors to exit codes.

A command is a class with ``name``, a docstring that is its help, ``add_arguments`` and ``run``. ``run``
returns one document (a dict that JSON can carry); ``--json`` prints it, otherwise ``render`` makes text
of the same document, so both always say the same.
"""

from __future__ import annotations

import argparse
import errno
import io
import json
import os
import re
import signal
import sys
import textwrap
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from types import FrameType
from typing import Any, ClassVar, NoReturn, TypeVar

from lightcl_edge import __version__
from lightcl_edge.errors import ExitCode, InterruptedTaskError, LightclError, StorageError, UsageError
from lightcl_edge.usage import Parser

Document = dict[str, Any]
#: What a terminal would act on, and bytes of file names that are no UTF-8.
_UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
#: True of every command, of one that has learned already (``watch``) and of one that only looks.
_INTERRUPTED = "interrupted; nothing half-learned is kept, what was learned until now is: the same command goes on"
T = TypeVar("T")


def printable(text: str) -> str:
    """Text for a terminal: control characters but line ends and tabs, and bytes that are no UTF-8, as escapes."""
    return _UNPRINTABLE.sub(lambda found: ascii(found[0])[1:-1], text)


class Command(ABC):
    """One command. Its docstring is its help; ``example`` is shown below the options."""

    name: ClassVar[str]
    example: ClassVar[str]

    @abstractmethod
    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare the command's own arguments."""

    @abstractmethod
    def run(self, args: argparse.Namespace) -> Document:
        """Do the work.

        Args:
            args: the parsed arguments; ``args.progress`` is a :class:`Progress`.

        Returns:
            The document that ``--json`` prints.
        """

    @abstractmethod
    def render(self, document: Document) -> str:
        """The document as text for a person."""

    def exit_code(self, document: Document) -> ExitCode:
        """The exit code of a run that raised nothing."""
        del document
        return ExitCode.DONE


class Progress:
    """A progress bar on a terminal, nothing in a pipe; and notes on stderr unless quiet.

    Args:
        quiet: print nothing at all.
    """

    def __init__(self, *, quiet: bool = False) -> None:
        self.quiet = quiet
        self._bar = not quiet and sys.stderr.isatty()

    def note(self, message: str) -> None:
        """A line for the person who waits, on stderr."""
        if not self.quiet:
            print(printable(message), file=sys.stderr, flush=True)

    def stage(self, message: str) -> None:
        """A line where a bar can't show that a long stage of work begins; one a stage, never one a step."""
        if not self._bar:
            self.note(message)

    def track(self, items: Iterable[T], label: str, total: int | None = None) -> Iterator[T]:
        """Pass items through while a bar shows how far it is and how long is left."""
        if total is None and isinstance(items, Sequence):
            total = len(items)
        if not self._bar or not total:
            yield from items
            return
        started = time.monotonic()
        for done, item in enumerate(items):
            left = (time.monotonic() - started) / done * (total - done) if done else None
            self._draw(label, done, total, left)
            yield item
        self._draw(label, total, total, 0.0)
        sys.stderr.write("\n")

    def show(self, label: str, done: int, total: int, seconds_left: float | None) -> None:
        """Draw the bar of work whose label changes on the way; the line ends when all is done."""
        if self._bar and total > 0:
            self._draw(label, done, total, seconds_left)
            if done >= total:
                sys.stderr.write("\n")

    def _draw(self, label: str, done: int, total: int, seconds_left: float | None) -> None:
        width = 28
        filled = width * done // total
        left = "" if seconds_left is None else f" {seconds_left:.0f} s left"
        bar = "#" * filled + "." * (width - filled)
        sys.stderr.write(f"\r{label:<24} [{bar}] {done}/{total}{left}\x1b[K")
        sys.stderr.flush()


def _help_text(command: Command) -> str:
    """The docstring without its indentation (the module inspect, which does this too, takes 10 ms to import)."""
    first, _, rest = (command.__doc__ or command.name).strip().partition("\n")
    return f"{first}\n{textwrap.dedent(rest)}".rstrip()


def _sub_parser(subparsers: Any, command: Command, prog: str, *, declare: bool) -> None:
    doc = _help_text(command)
    parser = subparsers.add_parser(
        command.name,
        help=doc.splitlines()[0],
        description=doc,
        epilog=f"example:\n  {command.example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.prog = f"{prog} {command.name}"
    if not declare:
        return
    command.add_arguments(parser)
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout, nothing else there")
    parser.add_argument("--quiet", action="store_true", help="no progress and no notes on stderr")
    parser.set_defaults(command=command)


def build_parser(
    prog: str, description: str, commands: Iterable[Command], argv: Sequence[str] | None = None
) -> argparse.ArgumentParser:
    """The parser of a program.

    Args:
        prog: the program's name.
        description: one line for ``--help``.
        commands: of the program.
        argv: what will be parsed: only the commands named in it get their arguments; None for all.

    Returns:
        The parser; what it parses has ``command``.
    """
    parser = Parser(prog=prog, description=description, allow_abbrev=False)
    parser.add_argument("--version", action="version", version=f"{prog} {__version__}")
    subparsers = parser.add_subparsers(metavar="COMMAND", required=True, parser_class=Parser)
    for command in commands:
        _sub_parser(subparsers, command, prog, declare=argv is None or command.name in argv)
    return parser


def _as_lightcl_error(error: OSError) -> LightclError:
    """An I/O error nobody caught closer to its cause."""
    where = f" at {error.filename}" if error.filename else ""
    what = os.strerror(error.errno) if error.errno else str(error)
    hint = "; free some space and run the same command again" if error.errno == errno.ENOSPC else ""
    return StorageError(f"input/output failed{where}: {what}{hint}")


def _report_error(error: LightclError, as_json: bool) -> int:
    if as_json:
        body = {"code": int(error.exit_code), "kind": error.kind, "message": str(error), **error.details}
        print(json.dumps({"error": body}))
    print(f"error: {printable(str(error))}", file=sys.stderr)
    return int(error.exit_code)


def _raise_interrupt(signum: int, frame: FrameType | None) -> NoReturn:
    """SIGTERM ends a run as Ctrl-C does: checkpoints are kept and locks released."""
    del signum, frame
    raise KeyboardInterrupt


def run_program(
    prog: str,
    description: str,
    commands: Callable[[], Iterable[Command]],
    argv: Sequence[str] | None = None,
) -> int:
    """Parse, run, print; the only place where an error becomes an exit code.

    Args:
        prog: the program's name.
        description: one line for ``--help``.
        commands: gives the program's commands (called once, so that imports stay lazy).
        argv: arguments without the program's name; ``sys.argv`` by default.

    Returns:
        The exit code.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # what the terminal's encoding lacks is shown as an escape
            stream.reconfigure(errors="backslashreplace")
    arguments = list(sys.argv[1:] if argv is None else argv)
    as_json = "--json" in arguments
    try:
        args = build_parser(prog, description, commands(), arguments).parse_args(arguments)
        args.progress = Progress(quiet=args.quiet)
        previous = signal.signal(signal.SIGTERM, _raise_interrupt)
        try:
            document = args.command.run(args)
        finally:
            signal.signal(signal.SIGTERM, previous)
        shown = json.dumps(document, allow_nan=False) if args.json else printable(args.command.render(document))
        print(shown, flush=True)
        return int(args.command.exit_code(document))
    except LightclError as error:
        return _report_error(error, as_json)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("lightcl_"):
            raise
        needed = UsageError(
            f"this command needs the Python package {error.name!r}, which is not installed; "
            "pip install 'lightcl-edge[host]' has all that a host needs"
        )
        return _report_error(needed, as_json)
    except BrokenPipeError:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115, PTH123 - the reader went away; nothing to tell it
        return int(ExitCode.DONE)
    except OSError as error:
        return _report_error(_as_lightcl_error(error), as_json)
    except KeyboardInterrupt:
        return _report_error(InterruptedTaskError(_INTERRUPTED), as_json)


def format_bytes(count: float) -> str:
    """Bytes as a person reads them: ``1536`` -> ``1.5 KiB``."""
    size = float(count)
    for unit in ("B", "KiB", "MiB"):
        if abs(size) < 1024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} GiB"


def count(number: int, noun: str) -> str:
    """A number of things: ``1 class``, ``2 classes``, ``3 images``."""
    plural = f"{noun}es" if noun.endswith("s") else f"{noun}s"
    return f"{number} {noun if number == 1 else plural}"


def parse_bytes(text: str) -> int:
    """A size as people write it (``256MiB``, ``2M``, ``1048576``) in bytes.

    Args:
        text: what was typed.

    Returns:
        The number of bytes.

    Raises:
        UsageError: when it is not a positive size.
    """
    factors = {"": 1, "k": 2**10, "m": 2**20, "g": 2**30}
    stripped = text.strip().lower().removesuffix("ib").removesuffix("b")
    unit = stripped[-1:] if stripped[-1:] in ("k", "m", "g") else ""
    try:
        count = int(float(stripped.removesuffix(unit)) * factors[unit])
    except (ValueError, OverflowError):
        count = 0
    if count <= 0:
        raise UsageError(f"found {text!r} where a size was expected, such as 256MiB or 1048576")
    return count


def parse_memory(text: str) -> int:
    """An amount of memory, as :func:`parse_bytes` reads sizes; a small number needs a unit.

    Args:
        text: what was typed.

    Returns:
        The number of bytes.

    Raises:
        UsageError: when it is no size, or less than 1 MiB without a unit: somebody meant 20 MiB, not 20 bytes.
    """
    size = parse_bytes(text)
    if size < 2**20 and text.strip()[-1:].isdecimal():
        raise UsageError(
            f"found {text.strip()!r} without a unit, which is {size} bytes; expected a size with one, such as 200MiB"
        )
    return size


def table(rows: Sequence[Sequence[str]], header: Sequence[str]) -> str:
    """Plain text columns, numbers to the right."""
    lines = [list(header), *[list(row) for row in rows]]
    widths = [max(len(line[i]) for line in lines) for i in range(len(header))]

    def cell(text: str, width: int) -> str:
        numeric = text[:1].isdigit() or (text[:1] in "-+" and text[1:2].isdigit())
        return text.rjust(width) if numeric else text.ljust(width)

    shown = ["  ".join(cell(text, width) for text, width in zip(line, widths, strict=True)) for line in lines]
    shown.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(line.rstrip() for line in shown)
