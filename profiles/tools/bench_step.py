"""Compares training steps of a bundle's head: ``python profiles/tools/bench_step.py BUNDLE``.

Each method runs in fresh processes on the same random batch with the same threads. The ``ort`` engine, in place and
accumulating, is compared with plain SGD in bare PyTorch. A peak is that of the whole process, imports included.
"""

import argparse
import json
import statistics
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import bench_step_child
from bench_step_child import METHODS, REFERENCE, StepJob, StepRecord, pattern_shapes
from lightcl_edge.bundle.bundle import Bundle
from lightcl_edge.console.program import Command
from lightcl_edge.console.text import Document, format_bytes, table
from lightcl_edge.errors import NoEngineError, UsageError
from one_command import run_command


def run_in_child(job: StepJob, shapes: dict[str, list[int]]) -> StepRecord:
    """The same in a fresh process; a NoEngineError has the child's last words, when it failed."""
    request = json.dumps({"job": asdict(job), "shapes": shapes})
    command = [sys.executable, bench_step_child.__file__]
    done = subprocess.run(command, input=request, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise NoEngineError(f"{job.method} ended with code {done.returncode}: {last}")
    return StepRecord(**json.loads(done.stdout))


class BenchStepCommand(Command):
    """Measure training steps of a bundle's head: whole-process peak memory and seconds.

    Every run is a fresh process; the rounds take turns, so that a busy machine disturbs all methods alike.
    Ratios are to plain SGD of the same head in PyTorch.
    """

    name = "bench-step"
    example = "python profiles/tools/bench_step.py out/bundle --runs 5"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("bundle", type=Path, metavar="BUNDLE")
        parser.add_argument("--methods", default=",".join(METHODS), help="some of: " + ", ".join(METHODS))
        parser.add_argument("--batch-size", type=int, default=32, metavar="N", help="new samples (default 32)")
        parser.add_argument("--buffer", type=int, default=15, metavar="N", help="buffered samples (default 15)")
        parser.add_argument("--steps", type=int, default=8, metavar="N", help="steps a run, at least 2 (default 8)")
        parser.add_argument("--runs", type=int, default=5, metavar="N", help="processes a method (default 5)")
        parser.add_argument("--threads", type=int, default=2, metavar="N", help="for each operator (default 2)")

    def run(self, args: argparse.Namespace) -> Document:
        methods = args.methods.split(",")
        unknown = set(methods) - set(METHODS)
        if unknown:
            raise UsageError(f"found method {sorted(unknown)[0]!r}, expected some of {', '.join(METHODS)}")
        if args.steps < 2 or min(args.batch_size, args.runs, args.threads) < 1 or args.buffer < 0:
            raise UsageError("expected 2 steps or more, and a batch size, runs and threads of 1 or more")
        shapes = pattern_shapes(Bundle.open(args.bundle)) if args.buffer else {}
        records: dict[str, list[StepRecord]] = {method: [] for method in methods}
        for _ in args.progress.track(range(args.runs), "rounds"):
            for method in methods:
                sizes = (args.batch_size, args.buffer, args.steps, args.threads)
                records[method].append(run_in_child(StepJob(str(args.bundle), method, *sizes), shapes))
        settings = {key: getattr(args, key) for key in ("batch_size", "buffer", "steps", "runs", "threads")}
        return {"bundle": str(args.bundle), **settings, "methods": [_summary(m, records) for m in methods]}

    def render(self, document: Document) -> str:
        rows = []
        for entry in document["methods"]:
            sizes = [format_bytes(entry[f"{name}_rss_bytes"]) for name in ("import", "load", "peak")]
            ratio = entry["peak_ratio"]
            times = f"{ratio:.2f} x" if ratio is not None else "-"
            rows.append([entry["method"], *sizes, times, f"{entry['seconds_per_step']:.3f}"])
        return table(rows, ["method", "imported", "loaded", "peak", "torch_sgd / this", "s a step"])


def _summary(method: str, records: dict[str, list[StepRecord]]) -> Document:
    """Medians over the runs of a method, and how many times larger the reference's peak is."""

    def median(name: str, of: str = method) -> float:
        return float(statistics.median(getattr(record, name) for record in records[of]))

    sizes = {name: int(median(name)) for name in ("peak_rss_bytes", "import_rss_bytes", "load_rss_bytes")}
    reference = median("peak_rss_bytes", REFERENCE) if REFERENCE in records else None
    ratio = reference / sizes["peak_rss_bytes"] if reference is not None else None
    seconds, loss = median("seconds_per_step"), median("loss")
    return {"method": method, **sizes, "peak_ratio": ratio, "seconds_per_step": seconds, "loss": loss}


if __name__ == "__main__":
    sys.exit(run_command(BenchStepCommand()))
