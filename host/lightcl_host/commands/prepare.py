"""``lightcl-host prepare``."""

import argparse
from pathlib import Path
from typing import ClassVar

from lightcl_edge.console.program import Command
from lightcl_edge.console.text import Document, count, format_bytes
from lightcl_host.commands.arguments import (
    add_analysis_arguments,
    add_export_arguments,
    add_model_arguments,
    analyze_options,
    apply_quick,
    export_options,
    option_name,
)
from lightcl_host.commands.export import render_export


class PrepareCommand(Command):
    """Make a bundle for a device from a model and the user's images in one go.

    With --device the layers are first analysed with the images, as `analyze` does and explains. The cut is the one that
    is chosen for that device, and the analysis is kept beside the bundle. Without --device, or with fewer than four
    classes, a rule of thumb chooses the cut. Then the trunk is quantised with the images, trunk and head are checked
    against the original network, and the bundle is written. `export` does the same and lets you make every choice.
    """

    name: ClassVar[str] = "prepare"
    example: ClassVar[str] = (
        "lightcl-host prepare --model efficientnet_lite0 --data digits --device rpi-zero-2w --out bundle"
    )

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        add_model_arguments(parser)
        parser.add_argument(
            "--data", required=True, metavar="D", help="images like those the device will see: a data specification"
        )
        add_export_arguments(parser)
        add_analysis_arguments(parser, device=None)
        parser.add_argument(
            "--analysis", type=Path, metavar="DIR", help="where the analysis is kept (default: --out with -analysis)"
        )

    def run(self, args: argparse.Namespace) -> Document:
        from lightcl_host.export.export import export_bundle

        if args.device is None:
            _refuse_unused(args)
            return export_bundle(export_options(args, calibration=args.data, analysis=None), args.progress)
        from lightcl_edge.data.specification import open_dataset
        from lightcl_host.analysis.tasks import FEW_CLASSES

        classes = len(open_dataset(args.data).classes)
        if classes >= FEW_CLASSES:
            return _analysed(args)
        args.progress.note(
            f"{args.data} has {classes} classes, too few to compare layers by: the cut is taken by the rule of thumb "
            f"among those that fit {args.device}"
        )
        return export_bundle(export_options(args, calibration=args.data, analysis=None), args.progress)

    def render(self, document: Document) -> str:
        lines = [
            f"{document['bundle']} is ready to be copied to the board: {format_bytes(document['bytes'])}, made in "
            f"{document['seconds']:.0f} s",
            f"memory      {_memory(document)}",
            f"how good    {_how_good(document['taps'])}",
        ]
        if quality := document["trunk_quality"]:
            time = quality["float32_milliseconds" if document["trunk_dtype"] == "fp32" else "milliseconds"]
            lines.append(f"speed       {time:.0f} ms a picture on this computer; boards are slower")
        if assumed := document["input"]["assumed"]:
            lines.append(f"assumed     {', '.join(assumed)}: wrong ones cost accuracy; --help names the options")
        if skipped := document["calibration"]["skipped"]:
            lines.append(f"skipped     {count(skipped, 'picture')} could not be read")
        if "analysis" in document:
            lines.append(f"report      {document['analysis']}")
        return "\n".join(
            [*lines, f"next        lightcl-edge train --bundle {document['bundle']} --state state --data DIR"]
        )

    def render_details(self, document: Document) -> str:
        return "\n" + render_export(document)


def _memory(document: Document) -> str:
    """What the board needs, and has where a device was named."""
    needed = f"learning on the board takes about {format_bytes(document['planned_peak_bytes'])}"
    if not (choice := document["choice"]):
        return needed
    return f"{needed}; of {format_bytes(choice['usable_bytes'])} that are free on {choice['device']}"


def _how_good(taps: Document) -> str:
    if taps["accuracy"] is None:
        return "not measured: that takes two folders of 8 pictures or more"
    images = count(taps["images"], "picture")
    right = f"right on {taps['accuracy']:.0%} of your {images}, among {taps['classes']} classes"
    return f"{right}; each was judged by what was learned from the others"


def _refuse_unused(args: argparse.Namespace) -> None:
    """Without an analysis its options would do nothing."""
    from dataclasses import fields

    from lightcl_edge.errors import UsageError
    from lightcl_host.analysis.run import AnalyzeOptions

    defaults = {entry.name: entry.default for entry in fields(AnalyzeOptions)}
    names = ("tasks", "images", "steps", "learning_rate", "threshold", "shortlist")
    given = [name for name in names if getattr(args, name) != defaults[name]]
    given += [name for name in ("quick", "analysis") if getattr(args, name)]
    if given:
        option = option_name(given[0])
        raise UsageError(f"{option} is for the analysis, which needs a --device; expected --device P, or no {option}")


def _analysed(args: argparse.Namespace) -> Document:
    """Analyse, then export what was chosen. The model is opened once."""
    from lightcl_edge.errors import DoesNotFitError
    from lightcl_host.analysis.record import REPORT_FILE
    from lightcl_host.analysis.run import analyze, check_analysis
    from lightcl_host.analysis.writing import write_analysis
    from lightcl_host.commands.analyze import command
    from lightcl_host.export.checks import check_export
    from lightcl_host.export.export import export_bundle
    from lightcl_host.sources.source import open_source

    apply_quick(args)
    folder = args.analysis or args.out.with_name(args.out.stem + "-analysis")
    options = export_options(args, calibration=args.data, analysis=folder)
    asked = analyze_options(args, folder, command(args, folder))
    check_export(options, args.progress, analysed=False)
    check_analysis(asked)
    args.progress.note(f"exporting {args.model} to ONNX")
    source = open_source(options.source)
    for remark in source.notes:
        args.progress.note(remark)
    analysis = analyze(asked, args.progress, source)
    write_analysis(folder, analysis)
    if analysis.chosen is None:
        raise DoesNotFitError(f"{analysis.choice.reason} The figures are in {folder / REPORT_FILE}")
    return export_bundle(options, args.progress, source) | {"analysis": str(folder / REPORT_FILE)}
