"""``lightcl-edge rename``."""

import argparse

from lightcl_edge.commands.arguments import add_state
from lightcl_edge.commands.completers import class_names
from lightcl_edge.console.completion import add_completer
from lightcl_edge.console.program import Command
from lightcl_edge.console.text import Document


class RenameCommand(Command):
    """Give a class another name.

    This makes a new generation. Earlier ones keep the old name, so that rollback brings it back.
    """

    name = "rename"
    example = "lightcl-edge rename --state state --class cat --to 'our cat'"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        add_state(parser)
        named = parser.add_argument(
            "--class", dest="class_name", required=True, metavar="NAME", help="its present name"
        )
        add_completer(named, class_names)
        parser.add_argument("--to", required=True, metavar="NAME", help="its new name")

    def run(self, args: argparse.Namespace) -> Document:
        from lightcl_edge.learning.renaming import rename_class
        from lightcl_edge.state.change import changing
        from lightcl_edge.state.state import State

        with changing(State(args.state)) as change:
            return rename_class(change, args.class_name, args.to)

    def render(self, document: Document) -> str:
        return f"{document['was']} is {document['class']} now, since generation {document['generation']}"
