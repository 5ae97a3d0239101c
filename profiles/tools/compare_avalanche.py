"""Our baselines' memory beside Avalanche's: ``python profiles/tools/compare_avalanche.py BUNDLE --data D``.

Each method runs as ours and as Avalanche's (extra ``compare``), in fresh processes with the same network, images,
batch, buffer, threads and two tasks. A peak is that of the whole process (``VmHWM``), libraries included. Ours runs
once more in a process that has imported Avalanche too. Imports leave freed memory behind, which training then uses, so
only processes with equal imports show what training itself needs.
"""

import argparse
import os
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

from lightcl_edge.bundle.bundle import Bundle
from lightcl_edge.console.program import Command
from lightcl_edge.console.text import Document, format_bytes, table
from lightcl_profiler.measuring.joining import join_tasks
from lightcl_profiler.measuring.launcher import run_method
from lightcl_profiler.measuring.workload import make_workload
from lightcl_profiler.methods import METHODS
from lightcl_profiler.methods.contract import Job
from lightcl_profiler.records.record import Run
from one_command import run_command

COMPARED = ("sgd", "er", "derpp", "ewc")
_THEIRS = "peers.avalanche:AvalancheMethod"
_OURS_BESIDE = "peers.avalanche:BaselineBesideAvalanche"


class CompareCommand(Command):
    """Measure SGD, ER, DER++ and EWC, ours and Avalanche's, side by side.

    Exit code 0 also when one of ours needs more: the column says so.
    """

    name = "compare-avalanche"
    example = "python profiles/tools/compare_avalanche.py bundle --data photos/"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("bundle", type=Path, metavar="BUNDLE", help="exported --with-baselines")
        parser.add_argument("--data", required=True, help="images: a data specification")
        parser.add_argument("--max-images", type=int, default=128, help="spread evenly over the classes (default 128)")
        parser.add_argument("--threads", type=int, default=2, help="threads of each library (default 2)")
        parser.add_argument("--buffer-size", type=int, default=15, help="images in the buffer (default 15)")
        parser.add_argument("--batch-size", type=int, default=32, help="images in each step (default 32)")
        runs = "processes of each method; the medians are shown (default 1)"
        parser.add_argument("--runs", type=int, default=1, help=runs)

    def run(self, args: argparse.Namespace) -> Document:
        Bundle.open(args.bundle)
        _let_children_import_this_folder()
        rows = []
        with tempfile.TemporaryDirectory() as folder:
            scratch = Path(folder)
            workload = make_workload(args.data, scratch / "images", args.max_images, 0)
            for method in COMPARED:
                job = Job(
                    method=method,
                    implementation=METHODS[method],
                    bundle=str(args.bundle),
                    tasks=[str(task) for task in workload.folders],
                    scratch=str(scratch),
                    epochs=1,
                    batch_size=args.batch_size,
                    learning_rate=0.01,
                    threads=args.threads,
                    seed=0,
                    engine="auto",
                    buffer_samples=args.buffer_size,
                    device="cpu",
                )
                rows.append(row := _compare(job, args.runs))
                args.progress.note(
                    f"{method}: {format_bytes(row['peak_rss_bytes'])}, "
                    f"Avalanche {format_bytes(row['avalanche_peak_rss_bytes'])}"
                )
        return {"bundle": str(args.bundle), "images": workload.images, "runs": args.runs, "methods": rows}

    def render(self, document: Document) -> str:
        keys = ("peak_rss_bytes", "with_its_imports_peak_rss_bytes", "avalanche_peak_rss_bytes")
        rows = [[each["method"], *(format_bytes(each[key]) for key in keys)] for each in document["methods"]]
        return table(rows, ["method", "ours, peak", "ours with Avalanche's imports", "Avalanche, peak"])


def _let_children_import_this_folder() -> None:
    """``peers`` belongs to no installed package."""
    known = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parent), *([known] if known else [])])


def _compare(job: Job, runs: int) -> dict[str, Any]:
    """One method three ways, taking turns."""
    ways = {"": job.implementation, "with_its_imports_": _OURS_BESIDE, "avalanche_": _THEIRS}
    found: dict[str, list[Run]] = {way: [] for way in ways}
    for number in range(1, runs + 1):
        for way, implementation in ways.items():
            found[way].append(join_tasks([run_method(replace(job, implementation=implementation), number)]))
    row: dict[str, Any] = {"method": job.method}
    for way, measured in found.items():
        row[f"{way}peak_rss_bytes"] = int(median(run.peak_rss_bytes for run in measured))
        row[f"{way}import_rss_bytes"] = int(median(run.import_rss_bytes for run in measured))
    row["no_more_than_avalanche"] = row["peak_rss_bytes"] <= row["avalanche_peak_rss_bytes"]
    return row


if __name__ == "__main__":
    sys.exit(run_command(CompareCommand()))
