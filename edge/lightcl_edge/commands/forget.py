"""``lightcl-edge forget``."""

import argparse

from lightcl_edge.commands.arguments import add_state
from lightcl_edge.commands.completers import class_names
from lightcl_edge.console.completion import add_completer
from lightcl_edge.console.program import Command
from lightcl_edge.console.text import Document, count


class ForgetCommand(Command):
    """Erase a class: its row, its samples, its statistics and its name, in every generation.

    Generations get new numbers, so that a number never changes its meaning. Another class can use the free row. An
    interrupted task is given up, because it may hold the class's features. What training changed below the classifier
    can't be taken out again. A class that came with the bundle is erased from generation 0 and its seeded buffer too.
    Your own image files are not touched.
    """

    name = "forget"
    example = "lightcl-edge forget --state state --class cat --dry-run"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        add_state(parser)
        named = parser.add_argument(
            "--class", dest="class_name", required=True, metavar="NAME", help="the class to erase"
        )
        add_completer(named, class_names)

        parser.add_argument("--dry-run", action="store_true", help="only say what would be erased")

    def run(self, args: argparse.Namespace) -> Document:
        from lightcl_edge.learning.forgetting import foresee, forget
        from lightcl_edge.state.change import changing
        from lightcl_edge.state.state import State

        state = State(args.state)
        foreseen = foresee(state, args.class_name)
        if args.dry_run:
            return {**foreseen, "dry_run": True}
        args.progress.note(_for_good(foreseen))
        with changing(state) as change:
            return {**forget(change, args.class_name), "dry_run": False}

    def render(self, document: Document) -> str:
        left = ", ".join(document["classes"]) or "none"
        if document["dry_run"]:
            return f"nothing was changed; {_for_good(document)}; known would be: {left}"
        return (
            f"{document['class']} is forgotten in {count(document['generations_rewritten'], 'generation')}, "
            f"{count(document['samples_erased'], 'sample')} erased; generation {document['generation']} knows: {left}"
        )


def _for_good(foreseen: Document) -> str:
    """What can't come back."""
    task = ", and the interrupted task" if foreseen["interrupted_task"] else ""
    damaged = ", ".join(foreseen["damaged_classes"])
    too = f". What {damaged} has taught is damaged, so it is forgotten too: teach it again" if damaged else ""
    return (
        f"erased for good, beyond any rollback: {count(foreseen['samples_erased'], 'sample')} of {foreseen['class']}, "
        f"its row and statistics in {count(foreseen['generations_rewritten'], 'generation')}{task}{too}. "
        "Image files stay"
    )
