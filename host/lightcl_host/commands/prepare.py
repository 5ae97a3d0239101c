"""``lightcl-host prepare``."""

from __future__ import annotations

import argparse
from typing import ClassVar

from lightcl_edge.console import Command, Document
from lightcl_host.commands.arguments import add_export_arguments, add_model_arguments
from lightcl_host.commands.report import render_export


class PrepareCommand(Command):
    """Make a bundle for a device from a model and the user's images in one go.

    Chooses the cut by a stated rule, quantises the trunk with the images, checks trunk and head against the original
    network and writes the bundle. `export` does the same with every choice in the open.
    """

    name: ClassVar[str] = "prepare"
    example: ClassVar[str] = "lightcl-host prepare --model efficientnet_lite0 --data digits --out bundle"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """See :class:`Command`."""
        add_model_arguments(parser)
        parser.add_argument(
            "--data", required=True, metavar="D", help="images of the device's world: a data specification"
        )
        add_export_arguments(parser)

    def run(self, args: argparse.Namespace) -> Document:
        """See :class:`Command`."""
        from lightcl_host.commands.options import export_options
        from lightcl_host.export import export_bundle

        return export_bundle(export_options(args, data=args.data), args.progress)

    def render(self, document: Document) -> str:
        """See :class:`Command`."""
        return render_export(document)
