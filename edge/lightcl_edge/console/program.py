"""What all commands share: their contract, the parser of the command line, and errors that become exit codes.

A command returns one document, a dict that JSON can carry. ``--json`` prints it; else ``render`` makes text of the
same document, so that both say the same.
"""

import argparse
import errno
import io
import json
import os
import signal
import sys
import textwrap
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from itertools import takewhile
from types import FrameType
from typing import Any, ClassVar, NoReturn

from lightcl_edge import __version__
from lightcl_edge.console.progress import Progress
from lightcl_edge.console.text import Document, printable
from lightcl_edge.errors import ExitCode, InterruptedTaskError, LightclError, StorageError, UsageError

#: True of every command: of one that only looks, and of ``watch`` that has learned already.
_INTERRUPTED = "interrupted; nothing half-learned is kept, what was learned until now is: the same command goes on"

_HINTS = {
    errno.ENOSPC: "; free some space and run the same command again",
    errno.EACCES: "; check its owner and rights",
    errno.EPERM: "; check its owner and rights",
}


class Command(ABC):
    """One command. Its docstring is its help; ``example`` is shown below the options."""

    name: ClassVar[str]
    example: ClassVar[str]

    @abstractmethod
    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare the command's own arguments."""

    @abstractmethod
    def run(self, args: argparse.Namespace) -> Document:
        """Do the work and give the document; ``args`` has ``progress`` beside the parsed arguments."""

    @abstractmethod
    def render(self, document: Document) -> str:
        """The document as text for a person: the result in the first line."""

    def render_details(self, document: Document) -> str:
        """What ``--verbose`` adds below; a command that has details declares the option by ``add_verbose``."""
        return ""

    def exit_code(self, document: Document) -> ExitCode:
        """The exit code of a run that raised nothing."""
        return ExitCode.DONE


def words_of(argv: Sequence[str] | None) -> list[str]:
    """The words after the program's name; while a shell completes a line, those of that line."""
    if "_ARGCOMPLETE" in os.environ:
        return os.environ.get("COMP_LINE", "").split()[1:]
    return list(sys.argv[1:] if argv is None else argv)


def run_program(prog: str, description: str, commands: Iterable[Command], argv: Sequence[str] | None = None) -> int:
    """Parse, run, print; give the exit code. Only here an error becomes one.

    Args:
        commands: of the program; a generator may fail, since it is called in here.
        argv: arguments without the program's name; None for those of this process.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # what the terminal's encoding lacks is shown as an escape
            stream.reconfigure(errors="backslashreplace")
    words = words_of(argv)
    try:
        parser = build_parser(prog, description, commands, words)
        if "_ARGCOMPLETE" in os.environ:
            from lightcl_edge.console.completion import complete

            complete(parser)
        return _run(parser.parse_args(words))
    except BrokenPipeError:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115, PTH123 - the reader went away; nothing to tell it
        return int(ExitCode.DONE)
    except (LightclError, ModuleNotFoundError, OSError, KeyboardInterrupt) as error:
        return _report(_as_lightcl_error(error), as_json="--json" in words, verbose="--verbose" in words)


def _run(args: argparse.Namespace) -> int:
    command: Command = args.command
    args.progress = Progress(quiet=args.quiet)
    previous = signal.signal(signal.SIGTERM, _raise_interrupt)
    try:
        document = command.run(args)
    finally:
        signal.signal(signal.SIGTERM, previous)
    if args.json:
        shown = json.dumps(document, allow_nan=False)
    else:
        shown = printable(command.render(document))
        if args.verbose and (details := command.render_details(document)):
            shown += "\n" + printable(details)
    print(shown, flush=True)
    return int(command.exit_code(document))


def _raise_interrupt(_signum: int, _frame: FrameType | None) -> NoReturn:
    """SIGTERM ends a run as Ctrl-C does: checkpoints are kept and locks released."""
    raise KeyboardInterrupt


def _as_lightcl_error(error: BaseException) -> LightclError:
    """An error of Python as one that has an exit code."""
    if isinstance(error, LightclError):
        return error
    if isinstance(error, KeyboardInterrupt):
        return InterruptedTaskError(_INTERRUPTED)
    if isinstance(error, OSError):
        where = f" at {error.filename}" if error.filename else ""
        what = os.strerror(error.errno) if error.errno else str(error)
        hint = _HINTS.get(error.errno or 0, "")
        return StorageError(f"input/output failed{where}: {what}{hint}")
    missing = getattr(error, "name", None)
    if missing is None or missing.startswith("lightcl_"):
        raise error
    return UsageError(
        f"this command needs the Python package {missing!r}, which is not installed; "
        "pip install 'lightcl-edge[host]' has all that a host needs"
    )


def _report(error: LightclError, as_json: bool, verbose: bool) -> int:
    if as_json:
        body = {"code": int(error.exit_code), "kind": error.kind, "message": str(error), **error.details}
        print(json.dumps({"error": body}))
    print(f"error: {printable(str(error))}", file=sys.stderr)
    if verbose and error.__cause__ is not None:
        from traceback import format_exception

        print(printable("".join(format_exception(error.__cause__))), file=sys.stderr)
    return int(error.exit_code)


def build_parser(
    prog: str, description: str, commands: Iterable[Command], words: Sequence[str] | None = None
) -> argparse.ArgumentParser:
    """The parser of a program.

    Args:
        words: what will be parsed: only the commands named in it get their arguments; None for all.
    """
    parser = Parser(prog=prog, description=description, allow_abbrev=False)
    parser.add_argument("--version", action="version", version=f"{prog} {__version__}")
    subparsers = parser.add_subparsers(metavar="COMMAND", required=True, parser_class=Parser)
    for command in commands:
        summary, _, rest = (command.__doc__ or command.name).strip().partition("\n")
        own = subparsers.add_parser(
            command.name,
            help=summary,
            # the module inspect removes the indentation too, but takes 10 ms to import
            description=f"{summary}\n{textwrap.dedent(rest)}".rstrip(),
            epilog=f"example:\n  {command.example}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        own.prog = f"{prog} {command.name}"
        if words is None or command.name in words:
            command.add_arguments(own)
            own.add_argument("--json", action="store_true", help="one JSON document on stdout, nothing else there")
            own.add_argument("--quiet", action="store_true", help="no progress and no notes on stderr")
            own.set_defaults(command=command, program=prog, verbose=False)
    return parser


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word that a misspelt one resembles most; None when none is near."""
    from difflib import get_close_matches  # only a mistake pays for this import

    return next(iter(get_close_matches(word, list(known), n=1, cutoff=0.6)), None)


class Parser(argparse.ArgumentParser):
    """argparse whose usage errors are :class:`UsageError`, so that ``--json`` can carry them."""

    _words: Sequence[str] = ()

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Refuse what a command does not know here, where its own options are known."""
        self._words = list(args or ())
        found, unknown = super().parse_known_args(args, namespace)
        if unknown and self._subparsers is None:
            self._refuse_unknown(unknown)
        return found, unknown

    def error(self, message: str) -> NoReturn:
        """Raise a :class:`UsageError`: a required option may be missing because it was misspelt."""
        before_files = takewhile(lambda word: word != "--", self._words)
        unknown = [word for word in before_files if self._is_unknown_option(word)]
        if unknown and "are required" in message:
            self._refuse_unknown(unknown, f"; {message}")
        raise UsageError(f"{message}\nTry: {self.prog} --help")

    def _is_unknown_option(self, word: str) -> bool:
        name = word.partition("=")[0]
        return name.startswith("--") and " " not in name and name not in self._option_string_actions

    def _refuse_unknown(self, words: Sequence[str], more: str = "") -> NoReturn:
        known = [option for option in self._option_string_actions if option.startswith("--")]
        names = [word.partition("=")[0] for word in words if word.startswith("-")]
        meant = [near for near in (nearest(name, known) for name in names) if near is not None]
        hint = f" (did you mean {' and '.join(dict.fromkeys(meant))}?)" if meant else ""
        raise UsageError(f"unrecognized arguments: {' '.join(words)}{hint}{more}\nTry: {self.prog} --help")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        """As argparse, which calls this, but with the choice that was probably meant."""
        if action.choices is None or value in action.choices:
            return
        known = [str(choice) for choice in action.choices]
        near = nearest(str(value), known)
        hint = "" if near is None else f"; did you mean {near}?"
        raise argparse.ArgumentError(action, f"invalid choice: {value!r} (choose from {', '.join(known)}){hint}")
