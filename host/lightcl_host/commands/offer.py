"""``lightcl-host offer``."""

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import ClassVar

from lightcl_edge.commands.arguments import positive
from lightcl_edge.console.program import Command
from lightcl_edge.console.text import Document, format_bytes


class OfferCommand(Command):
    """Offer boards a bundle: a folder for any web server, with the signed bundle and a signed note of it.

    Boards take it with lightcl-edge update, and refuse a smaller number than they have taken. To send boards back to an
    earlier bundle, offer that one again.
    """

    name: ClassVar[str] = "offer"
    example: ClassVar[str] = "lightcl-host offer --bundle bundle --key fleet.key --out offers"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--bundle", type=Path, required=True, help="of lightcl-host export")
        parser.add_argument("--key", type=Path, required=True, help="private key of lightcl-host keygen")
        parser.add_argument("--number", type=positive, metavar="N", help="of the offer (default: the next one)")
        parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="the folder")

    def run(self, args: argparse.Namespace) -> Document:
        from lightcl_edge.fleet.offer import make_offer

        return asdict(make_offer(args.bundle, args.key, args.number, args.out))

    def render(self, document: Document) -> str:
        return f"offer {document['number']}: {document['model']}, {format_bytes(document['bytes'])}"
