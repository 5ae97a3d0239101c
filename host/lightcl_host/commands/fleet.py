"""``lightcl-host fleet``."""

import argparse
import shutil
from pathlib import Path

from lightcl_edge.console.program import Command
from lightcl_edge.console.text import Document
from lightcl_edge.errors import UsageError


class FleetCommand(Command):
    """Write the Flower app with which boards share what they learned, for flwr run.

    OUT is the folder to give to flwr run. What it needs is in the extra lightcl-edge[fleet], on the server and on each
    board. docs/owners/flower.md tells how to start both.
    """

    name = "fleet"
    example = "lightcl-host fleet --out fleet-app"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--out", required=True, type=Path, help="folder to make")

    def run(self, args: argparse.Namespace) -> Document:
        import lightcl_host.fleet

        if args.out.exists():
            raise UsageError(f"{args.out} exists already; expected a folder to make (--out)")
        source = Path(lightcl_host.fleet.__file__).parent / "app"
        shutil.copytree(source, args.out, ignore=shutil.ignore_patterns("__pycache__"))
        return {"path": str(args.out)}

    def render(self, document: Document) -> str:
        return f"the Flower app is in {document['path']}; see docs/owners/flower.md"
