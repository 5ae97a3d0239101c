"""``lightcl-edge merge``."""

import argparse
from pathlib import Path

from lightcl_edge.commands.arguments import add_bundle, add_state, share
from lightcl_edge.console.program import Command
from lightcl_edge.console.text import Document, count, first_names


class MergeCommand(Command):
    """Take in what other boards taught, from the files of their lightcl-edge share or a server's pool.

    The result is a new generation through the gate of train, and equals learning all boards' images here. Order and
    repetition do not matter. Files that can't be used are named, and the others are taken. A class that another board
    has erased is forgotten here as well, beyond any rollback.
    """

    name = "merge"
    example = "lightcl-edge merge --state state kitchen.knowledge door.knowledge"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        add_bundle(parser)
        add_state(parser)
        parser.add_argument(
            "files",
            type=Path,
            nargs="+",
            metavar="KNOWLEDGE",
            help="file of another board's share, or a pool; or one head",
        )
        parser.add_argument("--key", type=Path, metavar="PUB", help="take only files that are signed by this key")
        parser.add_argument(
            "--max-forgetting",
            type=share,
            default=0.2,
            help="as for train: reject a loss of held-out accuracy above this, 0 to 1 (default: 0.2; 1: never)",
        )

    def run(self, args: argparse.Namespace) -> Document:
        from lightcl_edge.fleet.merge import MergeOptions, merge
        from lightcl_edge.machine.process_memory import PhaseMeter

        options = MergeOptions(args.state, args.files, args.bundle, args.key, args.max_forgetting)
        return merge(options, PhaseMeter(args.progress.phase), args.progress)

    def render(self, document: Document) -> str:
        """What was taken in, and what was not."""
        if "head" in document:
            if not document["head"]:
                return f"the head is of no use here; generation {document['generation']} stays"
            return f"generation {document['generation']}: a head that others trained too counts beside the closed form"
        if not document["merged"]:
            return f"nothing new; generation {document['generation']} stays"
        accuracy = document["holdout_accuracy"]
        boards = ", ".join(f"{each['board']} (version {each['version']})" for each in document["merged"])
        lines = [
            f"generation {document['generation']}: {count(len(document['classes']), 'class')}"
            + ("" if accuracy is None else f", held-out accuracy {accuracy:.1%} (mean over classes)"),
            f"  taken in: {boards}",
            f"  new: {first_names(document['new_classes'])}",
        ]
        if document["erased_classes"]:
            lines.append(f"  erased by another board: {first_names(document['erased_classes'])}")
        if document["ignored"]:
            lines.append(f"  not taken in: {count(len(document['ignored']), 'file')}, named above")
        return "\n".join(lines)
