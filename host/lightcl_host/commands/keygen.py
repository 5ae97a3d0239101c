"""``lightcl-host keygen``."""

import argparse
from pathlib import Path
from typing import ClassVar

from lightcl_edge.console.program import Command
from lightcl_edge.console.text import Document


class KeygenCommand(Command):
    """Make an Ed25519 key pair for signing bundles.

    OUT.key is the secret: keep it on the host and sign with `export --sign`. Copy OUT.pub to the devices, for
    `lightcl-edge train --key` and `verify --key`. Both are PEM files as OpenSSL writes them.
    """

    name: ClassVar[str] = "keygen"
    example: ClassVar[str] = "lightcl-host keygen --out fleet"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--out", required=True, type=Path, metavar="OUT", help="path of the files without ending")

    def run(self, args: argparse.Namespace) -> Document:
        from lightcl_edge.bundle.signature import make_key_pair

        return dict(make_key_pair(args.out))

    def render(self, document: Document) -> str:
        return f"secret  {document['private_key']}\npublic  {document['public_key']} ({document['key']})"
