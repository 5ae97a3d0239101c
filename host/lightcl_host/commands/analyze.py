"""``lightcl-host analyze``."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path
from typing import ClassVar

from lightcl_edge.console.program import Command
from lightcl_edge.console.text import Document
from lightcl_edge.errors import ExitCode
from lightcl_host.commands.arguments import add_analysis_arguments, add_model_arguments


class AnalyzeCommand(Command):
    """Measure how well each layer generalises and choose the cut for a device.

    A copy of the whole network learns a few tasks made from the images. At every cut that can be trained this gives
    memory stability (are features of earlier tasks the same after the next?), learning plasticity (do features serve
    a new task before it is learned?) and generalizability, their harmonic mean. With the memory that is predicted for
    the device this leads to a choice; for a short list of cuts heads are really trained. The result is analysis.json
    and report.html in --out. An interrupted analysis goes on from its finished parts, and parts are taken up for
    another --device too.
    """

    name: ClassVar[str] = "analyze"
    example: ClassVar[str] = (
        "lightcl-host analyze --model efficientnet_lite0 --image-size 96 --data photos/ --tasks 3 --device rpi4-2gb "
        "--out analysis"
    )

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        add_model_arguments(parser)
        parser.add_argument(
            "--data", required=True, metavar="D", help="images of the device's world: a data specification"
        )
        parser.add_argument("--out", required=True, type=Path, metavar="DIR", help="folder of the results")
        add_analysis_arguments(parser)
        parser.add_argument(
            "--trunk-dtype",
            default="fp32",
            metavar="TYPE",
            help="what memory is predicted for: fp32 (default, the most), fp16 or int8",
        )

    def run(self, args: argparse.Namespace) -> Document:
        from lightcl_host.analysis.files import write_analysis
        from lightcl_host.analysis.run import analyze
        from lightcl_host.commands.arguments import analyze_options

        options = analyze_options(args, args.out, command(args, args.out))
        analysis = analyze(options, args.progress)
        write_analysis(args.out, analysis)
        return analysis.document()

    def render(self, document: Document) -> str:
        from lightcl_host.analysis.record import Analysis
        from lightcl_host.analysis.render_text import render_text

        return render_text(Analysis.from_document(document))

    def exit_code(self, document: Document) -> ExitCode:
        """A device that no cut fits is a result, and a failure."""
        return ExitCode.DONE if document["chosen"] else ExitCode.DOES_NOT_FIT


def command(args: argparse.Namespace, out: Path) -> str:
    """The command as it was meant, with every option spelt out that changes the result."""
    words = ["lightcl-host", "analyze", "--model", args.model, "--weights", args.weights]
    for name in ("image_size", "mean", "std"):
        if (value := getattr(args, name)) is not None:
            words += [f"--{name.replace('_', '-')}", str(value)]
    words += ["--data", args.data]
    numbers = ("tasks", "images", "steps", "learning_rate", "repeats", "threshold", "shortlist")
    for name in (*numbers, "device", "seed", "trunk_dtype"):
        words += [f"--{name.replace('_', '-')}", str(getattr(args, name))]
    return shlex.join([*words, "--out", str(out)])
