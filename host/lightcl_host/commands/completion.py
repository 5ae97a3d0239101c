"""``lightcl-host completion``."""

from __future__ import annotations

import argparse

from lightcl_edge.commands.completion import CompletionCommand
from lightcl_edge.console.program import build_parser


class HostCompletionCommand(CompletionCommand):
    """Print a script that completes commands, options and their values in a shell.

    The script is made from the commands as they are installed and starts no Python when a key is pressed; make it anew
    after an update.
    """

    example = 'eval "$(lightcl-host completion bash)"    # for this shell only'

    def parser(self) -> argparse.ArgumentParser:
        """The parser of the whole program, with the arguments of all commands."""
        from lightcl_host.cli import DESCRIPTION, all_commands

        return build_parser("lightcl-host", DESCRIPTION, all_commands())
