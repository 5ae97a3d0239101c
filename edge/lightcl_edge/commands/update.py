"""``lightcl-edge update``."""

import argparse
from pathlib import Path

from lightcl_edge.commands.arguments import add_state, share
from lightcl_edge.console.program import Command
from lightcl_edge.console.text import Document, count, first_names, format_bytes


class UpdateCommand(Command):
    """Take the newest bundle that a server offers (lightcl-host offer).

    The bundle is checked in a process of its own before it is used. With the same network all that was learned stays;
    with another one, classes are learned again from pictures that were kept. The state goes back by itself if the first
    prediction fails, or ends its process in each of three starts.
    """

    name = "update"
    example = "lightcl-edge update --state state --from https://server/offers --key fleet.pub"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        add_state(parser)
        parser.add_argument("--from", dest="source", required=True, metavar="URL", help="of the offer, or its folder")
        parser.add_argument("--key", type=Path, metavar="PUB", help="the public key that signs; needed the first time")
        parser.add_argument(
            "--frames",
            type=Path,
            metavar="DIR",
            help="folder that watch learned, or with a sub-folder a class (default: what serve --keep-frames kept)",
        )
        parser.add_argument(
            "--max-forgetting",
            type=share,
            default=0.2,
            help="refuse a network with which held-out accuracy falls by more, 0 to 1 (default: 0.2; 1: never)",
        )
        parser.add_argument("--dry-run", action="store_true", help="say what would be kept and lost, and end")

    def run(self, args: argparse.Namespace) -> Document:
        from lightcl_edge.fleet.update import UpdateOptions, update

        options = UpdateOptions(args.state, args.source, args.key, args.frames, args.max_forgetting, args.dry_run)
        return update(options, args.progress)

    def render(self, document: Document) -> str:
        """What is kept and what is lost, and the way back."""
        if document["outcome"] == "nothing new":
            return "nothing new: the offered bundle is in use"
        size, taken = format_bytes(document["bytes"]), document["outcome"] == "taken"
        lines = [f"offer {document['number']} ({document['model']}, {size}) {document['outcome']}"]
        if taken:
            lines[0] += f": generation {document['generation']}; the first prediction decides whether it stays"
        if document["same_network"]:
            lines.append("  the same network: all that was learned stays")
        else:
            names, pictures = first_names(document["kept_classes"]), count(document["frames"], "kept picture")
            lines.append(f"  another network; learned again from {pictures}: {names}")
        if document["lost_classes"]:
            lines.append(f"  lost, because no pictures were kept: {', '.join(document['lost_classes'])}")
        lines.append("  kept: settings of the page, this board's name, grey range")
        return "\n".join(lines + [f"  back: lightcl-edge rollback --to {document['previous']}"] * taken)
