"""``lightcl-host report``."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from lightcl_edge.console.program import Command
from lightcl_edge.console.text import Document, format_bytes, table
from lightcl_edge.errors import DataError, UsageError
from lightcl_edge.files.durable import replace_durably

if TYPE_CHECKING:
    from lightcl_profiler.records.record import Report


class ReportCommand(Command):
    """Merge profiles of several boards, and a benchmark, into one HTML page.

    REPORT is a report.json of lightcl-edge profile, or the folder it is in. The page shows the paper's table beside the
    figures of every board, and memory over time. With --benchmark it also shows the accuracy after each task, and the
    accuracy against peak memory. --benchmark alone draws the benchmark's own page again. The page is one file that
    refers to nothing outside itself.
    """

    name: ClassVar[str] = "report"
    example: ClassVar[str] = "lightcl-host report pi4/ jetson/ --benchmark bench/benchmark.json --out boards.html"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "reports", nargs="*", type=Path, metavar="REPORT", help="report.json of a board, or its folder"
        )
        parser.add_argument("--benchmark", type=Path, metavar="FILE", help="benchmark.json of lightcl-host benchmark")
        parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="the page to write")

    def run(self, args: argparse.Namespace) -> Document:
        from lightcl_profiler.records.accuracy import read_benchmark
        from lightcl_profiler.records.comparing import board_names
        from lightcl_profiler.reports.boards import render_boards

        if not args.reports:
            return _benchmark_alone(args.benchmark, args.out)
        reports = [_read(path) for path in args.reports]
        models = list(dict.fromkeys(report.work.model for report in reports))
        if len(models) > 1:
            raise DataError(f"the reports are of {models[0]} and {models[1]}; expected one network in all of them")
        accuracy = None if args.benchmark is None else read_benchmark(args.benchmark)
        names = board_names(reports, args.reports)
        replace_durably(args.out, render_boards(reports, accuracy, names).encode())
        boards = [
            {
                "board": name,
                "peaks": {each.method: int(each.figures["peak_rss_bytes"].median) for each in report.summary},
            }
            for name, report in zip(names, reports, strict=True)
        ]
        return {"out": str(args.out), "model": models[0], "boards": boards}

    def render(self, document: Document) -> str:
        boards = document["boards"]
        if not boards:
            return f"wrote {document['out']}"
        methods = list(dict.fromkeys(method for board in boards for method in board["peaks"]))
        rows = [
            [method, *(format_bytes(b["peaks"][method]) if method in b["peaks"] else "not run" for b in boards)]
            for method in methods
        ]
        return f"wrote {document['out']}\n\n{table(rows, ['peak memory', *(board['board'] for board in boards)])}"


def _benchmark_alone(path: Path | None, out: Path) -> Document:
    """The page of a benchmark without any board."""
    from lightcl_profiler.records.accuracy import read_benchmark
    from lightcl_profiler.reports.benchmark import render_benchmark

    if path is None:
        raise UsageError("found neither a REPORT nor --benchmark; expected at least one of them")
    read_benchmark(path)
    document = json.loads(path.read_text(encoding="utf-8"))
    try:
        drawn = render_benchmark(document)
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path} is no benchmark ({error!r}); expected benchmark.json of this version") from error
    replace_durably(out, drawn.encode())
    return {"out": str(out), "model": document["setting"]["model"], "boards": []}


def _read(path: Path) -> Report:
    from lightcl_profiler.records.record import Report

    file = path / "report.json" if path.is_dir() else path
    expected = "expected report.json of lightcl-edge profile, or the folder it is in"
    if not file.exists():
        raise DataError(f"no report at {file}; {expected}")
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"{file} can't be read: {error.strerror}; {expected}") from error
    except ValueError as error:
        raise DataError(f"{file} is not JSON ({error}); {expected}") from error
    return Report.from_document(document)
