"""``lightcl-host export``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import ClassVar

from lightcl_edge.console.program import Command
from lightcl_edge.console.text import Document
from lightcl_host.commands.arguments import add_export_arguments, add_model_arguments
from lightcl_host.commands.report import render_export


class ExportCommand(Command):
    """Cut a network into trunk and head, check both against the original, and write a bundle.

    The trunk is quantised with real images: those of --calibration, or crops of two photographs that scikit-learn
    carries. The classifier starts with room for --max-classes classes and knows none, unless --keep-classes names
    the network's own. With --cut auto, --analysis decides on the cut, for another --device than it was made for too;
    a --device alone takes the rule of thumb among the cuts that are predicted to fit. Equal arguments give equal
    bundles, byte for byte.
    """

    name: ClassVar[str] = "export"
    example: ClassVar[str] = "lightcl-host export --model efficientnet_lite0 --calibration digits --out bundle"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """See :class:`Command`."""
        add_model_arguments(parser)
        parser.add_argument("--cut", default="auto", metavar="NAME", help="a name that `cuts` lists, or auto (default)")
        parser.add_argument(
            "--analysis",
            type=Path,
            metavar="DIR",
            help="what lightcl-host analyze found: --cut auto then takes the cut it chose",
        )
        parser.add_argument(
            "--device",
            metavar="P",
            help="a device profile that --cut auto is to fit (the names are in lightcl-host analyze --help)",
        )
        parser.add_argument(
            "--calibration", metavar="D", help="images to quantise and check with: a data specification"
        )
        add_export_arguments(parser)

    def run(self, args: argparse.Namespace) -> Document:
        """See :class:`Command`."""
        from lightcl_host.commands.options import export_options
        from lightcl_host.export.export import export_bundle

        return export_bundle(export_options(args, args.cut, args.calibration, args.analysis), args.progress)

    def render(self, document: Document) -> str:
        """See :class:`Command`."""
        return render_export(document)
