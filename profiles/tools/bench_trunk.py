"""Compares a bundle's trunk with a bare onnxruntime loop: ``python profiles/tools/bench_trunk.py BUNDLE``.

Both run in one process and take turns on the same normalised images, so that a busy machine disturbs them alike.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from lightcl_edge.bundle.bundle import TRUNK, Bundle
from lightcl_edge.console.program import Command
from lightcl_edge.console.text import Document, table
from lightcl_edge.inference.sessions import import_onnxruntime
from lightcl_edge.inference.trunk import Trunk, normalise
from lightcl_edge.machine.description import usable_cores
from one_command import run_command

BATCHES = (1, 8)


def compare(bundle: Bundle, batch: int, runs: int) -> dict[str, float]:
    """Median milliseconds of both, and their ratio; the product's time has the normalisation of pixels in it."""
    runtime, info = import_onnxruntime(), bundle.manifest.input
    options = runtime.SessionOptions()
    options.intra_op_num_threads = usable_cores()
    options.log_severity_level = 3
    path = str(bundle.path(TRUNK))
    bare = runtime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    trunk = Trunk(bundle)
    pixels = np.random.default_rng(0).integers(0, 256, (batch, info.height, info.width, 3)).astype(np.uint8)
    loops: dict[str, Callable[[], object]] = {
        "product": lambda: trunk.features_of_pixels(pixels),
        "bare": lambda: bare.run(["features"], {"image": normalise(pixels, info)}),
    }
    seconds: dict[str, list[float]] = {name: [] for name in loops}
    for turn in range(runs + 2):
        for name, loop in loops.items():
            started = time.perf_counter()
            loop()
            if turn >= 2:  # the first runs reserve memory
                seconds[name].append(time.perf_counter() - started)
    found = {name: 1000 * statistics.median(values) for name, values in seconds.items()}
    return {**found, "ratio": found["product"] / found["bare"]}


class BenchTrunkCommand(Command):
    """Measure the trunk at batch 1 and 8 against onnxruntime's own session: medians in ms, and their ratio."""

    name = "bench-trunk"
    example = "python profiles/tools/bench_trunk.py out/bundle --runs 50"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("bundle", type=Path, metavar="BUNDLE")
        parser.add_argument("--runs", type=int, default=50, metavar="N", help="of each (default 50)")

    def run(self, args: argparse.Namespace) -> Document:
        bundle = Bundle.open(args.bundle)
        return {"batches": {str(batch): compare(bundle, batch, args.runs) for batch in BATCHES}}

    def render(self, document: Document) -> str:
        rows = [
            [batch, *(f"{found[name]:.2f}" for name in ("product", "bare", "ratio"))]
            for batch, found in document["batches"].items()
        ]
        return table(rows, ["batch", "product ms", "bare ms", "ratio"])


if __name__ == "__main__":
    sys.exit(run_command(BenchTrunkCommand()))
