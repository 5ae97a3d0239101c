"""``completion``: the same command for ``lightcl-edge`` and ``lightcl-host``."""

import argparse

from lightcl_edge.console.program import Command
from lightcl_edge.console.text import Document


class CompletionCommand(Command):
    """Print a script that makes a shell complete commands, options and their values.

    The Tab key then starts the program, which knows its own options: the script stays right after an update. Write it
    to a file that your shell reads; PROGRAM is the program's name.

    bash: ~/.local/share/bash-completion/completions/PROGRAM
    zsh:  a file named _PROGRAM in a folder of $fpath
    fish: ~/.config/fish/completions/PROGRAM.fish
    """

    name = "completion"
    example = 'eval "$(%(prog)s bash)"    # for this shell only'

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("shell", choices=("bash", "zsh", "fish"), metavar="SHELL", help="bash, zsh or fish")

    def run(self, args: argparse.Namespace) -> Document:
        from argcomplete.shell_integration import shellcode

        return {"shell": args.shell, "script": shellcode([args.program], use_defaults=False, shell=args.shell)}

    def render(self, document: Document) -> str:
        return str(document["script"])
