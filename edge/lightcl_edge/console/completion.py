"""How a shell completes a command line: by the library argcomplete, which is imported for nothing else."""

import argparse
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

Completer = Callable[..., Iterable[str]]


def add_completer(action: argparse.Action, completer: Completer) -> None:
    """Let a function name the values of an argument."""
    action.completer = completer  # type: ignore[attr-defined]


def names_of(list_names: Callable[[], Iterable[str]]) -> Completer:
    """Completes one name, or the last of several that commas part; they are listed only while a shell completes."""

    def completed(prefix: str, **_context: object) -> Iterable[str]:
        before = prefix[: prefix.rfind(",") + 1]
        return [before + name for name in list_names()]

    return completed


def complete(parser: argparse.ArgumentParser) -> None:
    """Tell the shell what its line may go on with, and end the process."""
    from argcomplete import autocomplete
    from argcomplete.completers import FilesCompleter

    class Paths(FilesCompleter):
        """Files and folders, for arguments that may be a path."""

        def __call__(self, prefix: str, **context: Any) -> list[str]:
            return super().__call__(prefix) if context["action"].type in (None, str, Path) else []

    autocomplete(parser, always_complete_options="long", default_completer=Paths())
