"""Our baselines' memory beside Avalanche's: ``python -m lightcl_profiler.compare_avalanche BUNDLE --data D``.

Each method is one of ours and the same of Avalanche (extra ``compare``), every one in a fresh process: same network,
images, batch, buffer, threads, two tasks. Peaks are whole processes (``VmHWM``), libraries included.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from lightcl_edge.bundle import Bundle
from lightcl_edge.console import Command, Document, format_bytes, run_program, table
from lightcl_profiler.joining import join_tasks
from lightcl_profiler.launcher import run_method
from lightcl_profiler.methods import METHODS
from lightcl_profiler.methods.contract import Job
from lightcl_profiler.workload import make_workload

COMPARED = ("sgd", "er", "derpp", "ewc")
_THEIRS = "lightcl_profiler.methods.avalanche:AvalancheMethod"


class CompareCommand(Command):
    """Measure SGD, ER, DER++ and EWC, ours and Avalanche's, side by side.

    Exit code 0 also when one of ours needs more: the column says so.
    """

    name = "compare-avalanche"
    example = "python -m lightcl_profiler.compare_avalanche bundle --data photos/"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare the arguments."""
        parser.add_argument("bundle", type=Path, metavar="BUNDLE", help="exported --with-baselines")
        parser.add_argument("--data", required=True, help="images: a data specification")
        parser.add_argument("--max-images", type=int, default=128, help="spread evenly over the classes (default 128)")
        parser.add_argument("--threads", type=int, default=2, help="of each library (default 2)")
        parser.add_argument("--buffer-size", type=int, default=15, help="remembered images (default 15)")
        parser.add_argument("--batch-size", type=int, default=32, help="images a step (default 32)")

    def run(self, args: argparse.Namespace) -> Document:
        """Run all of them."""
        Bundle.open(args.bundle)
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
                ours = join_tasks([run_method(job, 1)])
                theirs = run_method(replace(job, implementation=_THEIRS), 1)
                args.progress.note(
                    f"{method}: {format_bytes(ours.peak_rss_bytes)}, Avalanche {format_bytes(theirs.peak_rss_bytes)}"
                )
                rows.append(
                    {
                        "method": method,
                        "peak_rss_bytes": ours.peak_rss_bytes,
                        "import_rss_bytes": ours.import_rss_bytes,
                        "avalanche_peak_rss_bytes": theirs.peak_rss_bytes,
                        "avalanche_import_rss_bytes": theirs.import_rss_bytes,
                        "no_more_than_avalanche": ours.peak_rss_bytes <= theirs.peak_rss_bytes,
                    }
                )
        return {"bundle": str(args.bundle), "images": workload.images, "methods": rows}

    def render(self, document: Document) -> str:
        """Peaks, and what comes on top of the imports."""
        rows = []
        for each in document["methods"]:
            ours, theirs = each["peak_rss_bytes"], each["avalanche_peak_rss_bytes"]
            on_top = [ours - each["import_rss_bytes"], theirs - each["avalanche_import_rss_bytes"]]
            rows.append([each["method"], *(format_bytes(value) for value in (ours, theirs, *on_top))])
        return table(rows, ["method", "ours, peak", "Avalanche, peak", "ours over imports", "Avalanche over imports"])


def main() -> int:
    """The one command of this module; its name may be left out."""
    arguments = sys.argv[1:]
    if arguments[:1] != [CompareCommand.name]:
        arguments = [CompareCommand.name, *arguments]
    return run_program(
        "lightcl_profiler.compare_avalanche", __doc__.splitlines()[0], lambda: [CompareCommand()], arguments
    )


if __name__ == "__main__":
    sys.exit(main())
