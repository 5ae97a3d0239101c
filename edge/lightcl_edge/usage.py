"""A command line's parser that says what a misspelt word was probably meant to be."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from typing import Any, NoReturn

from lightcl_edge.errors import UsageError


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
