"""``lightcl-edge rollback``."""

import argparse

from lightcl_edge.commands.arguments import add_state, not_negative
from lightcl_edge.commands.completers import generations
from lightcl_edge.console.completion import add_completer
from lightcl_edge.console.program import Command
from lightcl_edge.console.text import Document


class RollbackCommand(Command):
    """Go back to an earlier generation.

    Later generations stay on disk, so that ``rollback --to`` can go forward again. It never goes to a damaged
    generation. The count of bytes written to disk goes on.
    """

    name = "rollback"
    example = "lightcl-edge rollback --state state --to 3"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        add_state(parser)
        target = parser.add_argument(
            "--to",
            type=not_negative,
            metavar="N",
            help="generation (default: the one that the current one was learned from; 0: as exported)",
        )
        add_completer(target, generations)

    def run(self, args: argparse.Namespace) -> Document:
        from lightcl_edge.state.change import roll_back
        from lightcl_edge.state.state import State

        done = roll_back(State(args.state), args.to)
        return {"generation": done.generation, "from": done.previous, "classes": done.classes}

    def render(self, document: Document) -> str:
        classes = ", ".join(document["classes"]) or "no classes"
        return f"generation {document['generation']} is in use again (was {document['from']}): {classes}"
