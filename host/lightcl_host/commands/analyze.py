"""``lightcl-host analyze``."""

import argparse
import shlex
from pathlib import Path
from typing import ClassVar

from lightcl_edge.console.program import Command
from lightcl_edge.console.text import Document
from lightcl_edge.errors import ExitCode
from lightcl_host.commands.arguments import (
    MODEL_ARGUMENTS,
    add_analysis_arguments,
    add_model_arguments,
    analyze_options,
    apply_quick,
    command_line,
)


class AnalyzeCommand(Command):
    """Measure how well each layer generalises and choose the cut for a device.

    A copy of the whole network learns a few tasks made from the images. This gives three figures for every cut that can
    be trained. Memory stability: are the features of earlier tasks the same after the next task? Learning plasticity:
    do the features serve a new task before it is learned? Generalizability is their harmonic mean.

    For a short list of cuts heads are really trained. Of those as accurate as the best, within chance, the cut is taken
    that needs least time and memory and fits the device. With --shortlist 0 or --quick generalizability decides.
    The results are analysis.json and report.html in --out. An interrupted analysis goes on
    from its finished parts; an analysis for another --device uses them too.
    """

    name: ClassVar[str] = "analyze"
    example: ClassVar[str] = (
        "lightcl-host analyze --model efficientnet_lite0 --image-size 96 --data photos/ --device rpi4-2gb "
        "--out analysis"
    )

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        add_model_arguments(parser)
        parser.add_argument(
            "--data", required=True, metavar="D", help="images like those the device will see: a data specification"
        )
        parser.add_argument("--out", required=True, type=Path, metavar="DIR", help="folder of the results")
        add_analysis_arguments(parser)
        parser.add_argument(
            "--trunk-dtype",
            default="fp32",
            metavar="TYPE",
            help="the trunk's type that memory is predicted for: fp32 (default, needs most), fp16 or int8",
        )

    def run(self, args: argparse.Namespace) -> Document:
        from lightcl_host.analysis.run import analyze
        from lightcl_host.analysis.writing import write_analysis

        apply_quick(args)
        options = analyze_options(args, args.out, command(args, args.out))
        analysis = analyze(options, args.progress)
        write_analysis(args.out, analysis)
        return analysis.document()

    def render(self, document: Document) -> str:
        from lightcl_host.analysis.record import Analysis
        from lightcl_host.analysis.render_text import render_text

        return render_text(Analysis.from_document(document))

    def exit_code(self, document: Document) -> ExitCode:
        # that no cut fits the device is a result, and a failure
        return ExitCode.DONE if document["chosen"] else ExitCode.DOES_NOT_FIT


def command(args: argparse.Namespace, out: Path) -> str:
    """The command of this analysis, with every option spelt out that changes the result."""
    model = (*MODEL_ARGUMENTS, "data")
    measured = ("tasks", "images", "steps", "learning_rate", "threshold", "shortlist")
    words = command_line("analyze", args, (*model, *measured, "device", "seed", "trunk_dtype"))
    return f"{words} --out {shlex.quote(str(out))}"
