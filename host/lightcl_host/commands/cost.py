"""``lightcl-host cost``."""

import argparse
import shlex
from dataclasses import asdict
from pathlib import Path
from typing import ClassVar

from lightcl_edge.console.program import Command
from lightcl_edge.console.text import Document, format_bytes, table
from lightcl_edge.errors import UsageError
from lightcl_edge.learning.strategies import STRATEGIES
from lightcl_host.commands.arguments import option_name

#: Option -> what it goes with.
_GOES_WITH = {
    "engine": ("bundle", "check"),
    "batch_size": ("bundle", "check"),
    "strategy": ("bundle", "check"),
    "buffer_size": ("bundle",),
    "only": ("check",),
}


class CostCommand(Command):
    """Say what learning costs: the paper's calculation, or the plan of our own runtime.

    --bundle prints the predicted peak memory of each phase of a training. --paper prints the memory and the operations
    of the LightCL paper, calculated by its formulas, beside the published figures. --check exports several networks,
    trains each in fresh processes on this machine, and prints predicted against measured peaks. It takes many minutes.
    """

    name: ClassVar[str] = "cost"
    example: ClassVar[str] = "lightcl-host cost --bundle bundle --engine ort --batch-size 32"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        what = parser.add_mutually_exclusive_group(required=True)
        what.add_argument("--bundle", type=Path, help="predict for this bundle")
        what.add_argument("--paper", action="store_true", help="the paper's table, calculated")
        what.add_argument("--check", action="store_true", help="predicted against measured, on this machine")
        parser.add_argument("--engine", choices=("ort", "torch", "all"), help="default: both")
        parser.add_argument("--batch-size", type=int, action="append", metavar="N", help="may be given several times")
        parser.add_argument(
            "--buffer-size",
            type=int,
            metavar="N",
            help="with --bundle: samples that carry patterns; replay then holds them as with --beta",
        )
        parser.add_argument(
            "--strategy",
            choices=sorted(STRATEGIES),
            help="default: what train tries first with --bundle, lightcl with --check",
        )
        parser.add_argument("--only", metavar="WORD", help="with --check: models whose name contains it")

    def run(self, args: argparse.Namespace) -> Document:
        sizes = args.batch_size or []
        if any(size < 1 for size in sizes):
            raise UsageError(f"--batch-size {min(sizes)}; expected 1 or more")
        if args.buffer_size is not None and args.buffer_size < 0:
            raise UsageError(f"--buffer-size {args.buffer_size}; expected 0 or more")
        asked = "paper" if args.paper else "check" if args.check else "bundle"
        for name, places in _GOES_WITH.items():
            if getattr(args, name) is not None and asked not in places:
                goes = " or ".join(f"--{place}" for place in places)
                raise UsageError(f"{option_name(name)} goes with {goes}, not with --{asked}")
        if args.paper:
            from lightcl_profiler.paper.table import paper_rows

            return {"paper": [row.document() for row in paper_rows()]}
        return _check(args) if args.check else _predict(args)

    def render(self, document: Document) -> str:
        if "paper" in document:
            rows = [
                [
                    *(row["dataset"], row["method"], row["quantity"]),
                    *(f"{row['calculated']:.2f}", f"{row['published']:g}", f"{row['difference']:+.1%}"),
                ]
                for row in document["paper"]
            ]
            return table(rows, ["data", "method", "quantity", "calculated", "published", "difference"])
        if "checked" in document:
            return _render_check(document)
        rows = [
            [row["engine"], str(row["batch_size"]), phase, format_bytes(size)]
            for row in document["predictions"]
            for phase, size in [*row["phases"].items(), ("peak", row["peak_bytes"])]
        ]
        return table(rows, ["engine", "batch", "phase", "predicted"])


def _engines(args: argparse.Namespace) -> list[str]:
    return ["ort", "torch"] if args.engine in (None, "all") else [args.engine]


def _predict(args: argparse.Namespace) -> Document:
    from lightcl_edge.bundle.bundle import Bundle
    from lightcl_edge.learning.strategies.choice import choose_strategy
    from lightcl_host.cost.prediction import predict

    manifest = Bundle.open(args.bundle).manifest
    strategy = args.strategy or choose_strategy(manifest.defaults.strategy).name
    predictions = []
    for engine in _engines(args):
        for size in args.batch_size or [manifest.defaults.batch_size]:
            plan = predict(manifest, engine, size, args.buffer_size, strategy=strategy)
            about = {"engine": engine, "batch_size": size, "phases": plan.phases(), "peak_bytes": plan.peak_bytes}
            predictions.append(about)
    return {"bundle": str(args.bundle), "strategy": strategy, "predictions": predictions}


def _check(args: argparse.Namespace) -> Document:
    from lightcl_edge.machine.description import describe_machine
    from lightcl_host.benchmark.plan_check import BATCH_SIZES, CASES, TOLERANCE, check_rows

    cases = [case for case in CASES if args.only is None or args.only in case.model]
    if not cases:
        known = ", ".join(dict.fromkeys(case.model for case in CASES))
        raise UsageError(f"--only {args.only} matches none of the networks that are checked: {known}")
    rows, counts = check_rows(
        cases, _engines(args), args.batch_size or BATCH_SIZES, args.strategy or "lightcl", args.progress
    )
    beyond = [row for row in rows if abs(row.difference) > TOLERANCE]
    return {
        "command": shlex.join(["lightcl-host", "cost", *_words(args)]),
        "machine": asdict(describe_machine()),
        "checked": [row.document() for row in rows],
        "tolerance": TOLERANCE,
        "beyond_tolerance": len(beyond),
        "counts": counts,
    }


def _words(args: argparse.Namespace) -> list[str]:
    words = ["--check"] + [f"--batch-size={size}" for size in args.batch_size or []]
    words += [f"--{name}={value}" for name in ("engine", "strategy", "only") if (value := getattr(args, name))]
    return [*words, "--json"]


def _render_check(document: Document) -> str:
    rows = [
        [
            *(row["model"], row["cut"], row["trunk_dtype"], row["engine"], str(row["batch_size"]), row["phase"]),
            *(format_bytes(row["predicted_bytes"]), format_bytes(row["measured_bytes"]), f"{row['difference']:+.1%}"),
        ]
        for row in document["checked"]
    ]
    header = ["network", "cut", "trunk", "engine", "batch", "phase", "predicted", "measured", "difference"]
    verdict = f"{document['beyond_tolerance']} of {len(rows)} figures differ by more than {document['tolerance']:.0%}"
    return f"{verdict}\n\n{table(rows, header)}"
