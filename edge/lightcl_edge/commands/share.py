"""``lightcl-edge share``."""

import argparse
from pathlib import Path

from lightcl_edge.commands.arguments import add_state
from lightcl_edge.console.program import Command
from lightcl_edge.console.text import Document, count, format_bytes
from lightcl_edge.errors import UsageError


class ShareCommand(Command):
    """Write what this board taught itself as one file for other boards: sums of each class, and no picture.

    Others take it in with lightcl-edge merge. Of one board only its newest version counts, so a file that comes twice
    changes nothing. Classes that were forgotten here are forgotten there too.
    """

    name = "share"
    example = "lightcl-edge share --state state --out kitchen.knowledge --board kitchen"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        add_state(parser)
        parser.add_argument("--out", type=Path, required=True, metavar="KNOWLEDGE", help="the file to write")
        parser.add_argument(
            "--board", metavar="NAME", help="what others call this board; kept from then on (default: a random name)"
        )
        parser.add_argument(
            "--train-head",
            action="store_true",
            help="write no knowledge but a head that is trained on what this board remembers, for federated averaging",
        )
        parser.add_argument("--begin", type=Path, metavar="HEAD", help="with --train-head: the average to begin with")
        parser.add_argument(
            "--keep", type=int, metavar="VERSION", help="keep the file in the state too, beside this version (0: none)"
        )
        parser.add_argument("--sign", type=Path, metavar="KEY", help="private key of lightcl-host keygen to sign with")

    def run(self, args: argparse.Namespace) -> Document:
        from lightcl_edge.fleet.share import share, share_head
        from lightcl_edge.state.change import changing
        from lightcl_edge.state.state import State

        if (args.begin is not None and not args.train_head) or (args.keep is not None and args.train_head):
            raise UsageError("--begin goes with --train-head, and --keep does not: expected one of both")
        with changing(State(args.state)) as change:
            if args.train_head:
                return share_head(change, args.out, args.board, args.sign, args.begin, args.progress)
            return share(change, args.out, args.board, args.sign, args.keep)

    def render(self, document: Document) -> str:
        if "samples" in document:
            return f"{document['path']}: a head, trained on {count(document['samples'], 'sample')}"
        return (
            f"{document['path']}: board {document['board']}, version {document['version']}, "
            f"{count(len(document['classes']), 'class')}, {format_bytes(document['bytes'])}"
            + (", signed" if document["signed"] else "")
        )
