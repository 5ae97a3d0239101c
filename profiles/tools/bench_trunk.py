"""Compares a bundle's trunk with a bare onnxruntime loop: ``python profiles/tools/bench_trunk.py BUNDLE``.

Each side has a process of its own, because a bare session's threads wait in a loop and would take the other's time. The
processes take turns, so that a busy machine disturbs both alike.
"""

import argparse
import statistics
import subprocess
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
SIDES = ("product", "bare")
_TURNS = 3


def compare(folder: Path, batch: int, runs: int) -> dict[str, float]:
    """Median milliseconds of both sides' turns, and their ratio; the pixels' normalisation is in both."""
    found: dict[str, list[float]] = {side: [] for side in SIDES}
    for _ in range(_TURNS):
        for side in SIDES:
            command = [sys.executable, __file__, str(folder), "--side", side, "--batch", str(batch)]
            ended = subprocess.run([*command, "--runs", str(runs)], check=True, capture_output=True, text=True)
            found[side].append(float(ended.stdout))
    medians = {side: statistics.median(values) for side, values in found.items()}
    return {**medians, "ratio": medians["product"] / medians["bare"]}


def measure(bundle: Bundle, side: str, batch: int, runs: int) -> float:
    """Median milliseconds of one side in this process."""
    info = bundle.manifest.input
    pixels = np.random.default_rng(0).integers(0, 256, (batch, info.height, info.width, 3)).astype(np.uint8)
    loop = _product(bundle, pixels) if side == "product" else _bare(bundle, pixels)
    seconds = []
    for _ in range(runs + 3):
        started = time.perf_counter()
        loop()
        seconds.append(time.perf_counter() - started)
    return 1000 * statistics.median(seconds[3:])  # the first runs reserve memory


def _product(bundle: Bundle, pixels: np.ndarray) -> Callable[[], object]:
    trunk = Trunk(bundle)
    return lambda: trunk.features_of_pixels(pixels)


def _bare(bundle: Bundle, pixels: np.ndarray) -> Callable[[], object]:
    runtime, info = import_onnxruntime(), bundle.manifest.input
    options = runtime.SessionOptions()
    options.intra_op_num_threads = usable_cores()
    options.log_severity_level = 3
    session = runtime.InferenceSession(str(bundle.path(TRUNK)), options, providers=["CPUExecutionProvider"])
    return lambda: session.run(["features"], {"image": normalise(pixels, info)})


class BenchTrunkCommand(Command):
    """Measure the trunk at batch 1 and 8 against onnxruntime's own session: medians in ms, and their ratio."""

    name = "bench-trunk"
    example = "python profiles/tools/bench_trunk.py out/bundle --runs 100"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("bundle", type=Path, metavar="BUNDLE")
        parser.add_argument("--runs", type=int, default=100, metavar="N", help="of each in a turn (default 100)")
        parser.add_argument("--side", choices=SIDES, help="measure this side alone, in this process")
        parser.add_argument("--batch", type=int, default=1, metavar="N", help="images at once, with --side")

    def run(self, args: argparse.Namespace) -> Document:
        if args.side:
            return {"ms": measure(Bundle.open(args.bundle), args.side, args.batch, args.runs)}
        return {"batches": {str(batch): compare(args.bundle, batch, args.runs) for batch in BATCHES}}

    def render(self, document: Document) -> str:
        if "ms" in document:
            return str(document["ms"])
        rows = [
            [batch, *(f"{found[name]:.2f}" for name in ("product", "bare", "ratio"))]
            for batch, found in document["batches"].items()
        ]
        return table(rows, ["batch", "product ms", "bare ms", "ratio"])


if __name__ == "__main__":
    sys.exit(run_command(BenchTrunkCommand()))
