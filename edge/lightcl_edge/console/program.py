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
import signal
import sys
import textwrap
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from types import FrameType
from typing import Any, ClassVar, NoReturn

from lightcl_edge import __version__
from lightcl_edge.console.progress import Progress
from lightcl_edge.console.text import Document, printable
from lightcl_edge.errors import ExitCode, InterruptedTaskError, LightclError, StorageError, UsageError

#: True of every command, of one that has learned already (``watch``) and of one that only looks.
_INTERRUPTED = "interrupted; nothing half-learned is kept, what was learned until now is: the same command goes on"


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


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word that a misspelt one resembles most.

    Args:
        word: as it was typed.
        known: what it may be.

    Returns:
        The word; None where none is near.
    """
    from difflib import get_close_matches  # only a mistake pays for this import

    return next(iter(get_close_matches(word, list(known), n=1, cutoff=0.6)), None)


class Parser(argparse.ArgumentParser):
    """argparse whose usage errors are :class:`UsageError`, so that ``--json`` can carry them."""

    _given: Sequence[str] = ()

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As argparse; what a command does not know is refused here, where its own options are known.

        Args:
            args: the words.
            namespace: to fill.

        Returns:
            The filled namespace and no words.
        """
        self._given = list(args or ())
        found, unknown = super().parse_known_args(args, namespace)
        if unknown and self._subparsers is None:
            self._refuse_unknown(unknown, "")
        return found, unknown

    def error(self, message: str) -> NoReturn:
        """Refuse a command line.

        Args:
            message: of argparse.

        Raises:
            UsageError: with that message, and misspelt options where a missing one may be what they mean.
        """
        if "are required" in message and (unknown := self._unknown_options()):
            self._refuse_unknown(unknown, f"; {message}")
        raise UsageError(f"{message}\nTry: {self.prog} --help")

    def _refuse_unknown(self, words: Sequence[str], more: str) -> NoReturn:
        known = [option for option in self._option_string_actions if option.startswith("--")]
        names = [word.partition("=")[0] for word in words if word.startswith("-")]
        meant = [near for near in (nearest(name, known) for name in names) if near is not None]
        hint = f" (did you mean {' and '.join(dict.fromkeys(meant))}?)" if meant else ""
        raise UsageError(f"unrecognized arguments: {' '.join(words)}{hint}{more}\nTry: {self.prog} --help")

    def _unknown_options(self) -> list[str]:
        """Words that look like options and are none of this parser's."""
        found = []
        for word in self._given:
            if word == "--" or (self._subparsers is not None and not word.startswith("-")):
                break  # what follows is no option, or a command's
            name = word.partition("=")[0]
            is_option = name.startswith("--") and " " not in name
            if is_option and name not in self._option_string_actions:
                found.append(word)
        return found

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        """As argparse, which calls this, with the choice that was probably meant."""
        if action.choices is None or value in action.choices:
            return
        known = [str(choice) for choice in action.choices]
        near = nearest(str(value), known)
        hint = "" if near is None else f"; did you mean {near}?"
        raise argparse.ArgumentError(action, f"invalid choice: {value!r} (choose from {', '.join(known)}){hint}")
