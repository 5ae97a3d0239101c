"""``lightcl-edge completion``."""

from __future__ import annotations

import argparse

from lightcl_edge.console.program import Command, build_parser
from lightcl_edge.console.text import Document


class CompletionCommand(Command):
    """Print a script that completes commands, options and their values in a shell.

    The script is made from the commands as they are installed and starts no Python when a key is pressed; make it anew
    after an update.

    bash: > ~/.local/share/bash-completion/completions/lightcl-edge
    zsh:  > a file named _lightcl-edge in a folder of $fpath
    fish: > ~/.config/fish/completions/lightcl-edge.fish
    """

    name = "completion"
    example = 'eval "$(lightcl-edge completion bash)"    # for this shell only'

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare the command's own arguments."""
        parser.add_argument("shell", choices=("bash", "zsh", "fish"), metavar="SHELL", help="bash, zsh or fish")

    def run(self, args: argparse.Namespace) -> Document:
        """Make the script."""
        from lightcl_edge.console.completion import script

        return {"shell": args.shell, "script": script(args.shell, self.parser())}

    def render(self, document: Document) -> str:
        """The script itself."""
        return str(document["script"])

    def parser(self) -> argparse.ArgumentParser:
        """The parser of the whole program, with the arguments of all commands."""
        from lightcl_edge.cli import ABOUT, all_commands

        return build_parser("lightcl-edge", ABOUT, all_commands())
