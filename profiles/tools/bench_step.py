"""Compares training steps of a bundle's head: ``python profiles/tools/bench_step.py BUNDLE``.

Each method runs in fresh processes on the same random batch with the same threads. The ``ort`` engine, in place and
accumulating, is compared with plain SGD in bare PyTorch. A peak is that of the whole process, imports included.

Two bounds stand beside them: how long this machine takes for a step's products alone, at the rate of one large product,
and for its reading and writing alone, at the rate of one large copy.
"""

import argparse
import json
import math
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, shape_inference

import bench_step_child
from bench_step_child import METHODS, REFERENCE, StepJob, StepRecord, pattern_shapes
from lightcl_edge.bundle.bundle import Bundle
from lightcl_edge.console.program import Command
from lightcl_edge.console.text import Document, format_bytes, table
from lightcl_edge.errors import NoEngineError, UsageError
from lightcl_edge.learning.engines.ort_session import open_session
from lightcl_host.graphs.operators import VIEW_OPERATORS
from one_command import run_command

_SIDE = 1024
#: Forward, and back to the input and to the weights.
_PASSES = 3


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
        bounds = _bounds(Bundle.open(args.bundle), args.batch_size, args.buffer, args.threads)
        records: dict[str, list[StepRecord]] = {method: [] for method in methods}
        for _ in args.progress.track(range(args.runs), "rounds"):
            for method in methods:
                sizes = (args.batch_size, args.buffer, args.steps, args.threads)
                records[method].append(run_in_child(StepJob(str(args.bundle), method, *sizes), shapes))
        settings = {key: getattr(args, key) for key in ("batch_size", "buffer", "steps", "runs", "threads")}
        return {"bundle": str(args.bundle), **settings, **bounds, "methods": [_summary(m, records) for m in methods]}

    def render(self, document: Document) -> str:
        rows = []
        for entry in document["methods"]:
            sizes = [format_bytes(entry[f"{name}_rss_bytes"]) for name in ("import", "load", "peak")]
            ratio = entry["peak_ratio"]
            times = f"{ratio:.2f} x" if ratio is not None else "-"
            rows.append([entry["method"], *sizes, times, f"{entry['seconds_per_step']:.3f}"])
        shown = table(rows, ["method", "imported", "loaded", "peak", "torch_sgd / this", "s a step"])
        products, moved = (document[f"{name}_seconds"] for name in ("products", "moves"))
        return (
            f"{shown}\n\nThe products of a step alone take {products:.3f} s "
            f"({document['multiply_adds'] / 1e9:.2f} G multiply-adds), "
            f"reading and writing alone {moved:.3f} s ({format_bytes(document['moved_bytes'])})."
        )


def _summary(method: str, records: dict[str, list[StepRecord]]) -> Document:
    """Medians over the runs of a method, and how many times larger the reference's peak is."""

    def median(name: str, of: str = method) -> float:
        return float(statistics.median(getattr(record, name) for record in records[of]))

    sizes = {name: int(median(name)) for name in ("peak_rss_bytes", "import_rss_bytes", "load_rss_bytes")}
    reference = median("peak_rss_bytes", REFERENCE) if REFERENCE in records else None
    ratio = reference / sizes["peak_rss_bytes"] if reference is not None else None
    seconds, loss = median("seconds_per_step"), median("loss")
    return {"method": method, **sizes, "peak_ratio": ratio, "seconds_per_step": seconds, "loss": loss}


def _bounds(bundle: Bundle, samples: int, buffered: int, threads: int) -> Document:
    """What a step multiplies and moves, and how long either takes here when nothing else is done.

    Moved are all inputs and results of the operators of the graph in place, but for views.
    """
    multiply_adds = _PASSES * bundle.manifest.cost.head_multiply_adds * (samples + buffered)
    graphs = [graph for graph in bundle.manifest.training_step if graph.update == "in_place"]
    fitting = [graph for graph in graphs if graph.samples >= samples and graph.buffered_samples >= buffered]
    if not fitting:
        sizes = ", ".join(f"{graph.samples} and {graph.buffered_samples}" for graph in graphs)
        raise UsageError(f"no step takes {samples} samples and {buffered} buffered ones; the bundle has {sizes}")
    graph = min(fitting, key=lambda each: (each.samples, each.buffered_samples))
    model = shape_inference.infer_shapes(onnx.load(str(bundle.path(graph.path))))
    values = (*model.graph.input, *model.graph.value_info, *model.graph.output)
    sizes_of = {each.name: 4 * math.prod(side.dim_value for side in each.type.tensor_type.shape.dim) for each in values}
    nodes = [node for node in model.graph.node if node.op_type not in VIEW_OPERATORS]
    moved = sum(sizes_of.get(name, 0) for node in nodes for name in (*node.input, *node.output))
    square = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [_SIDE, _SIDE]) for name in "abc"]
    product = helper.make_graph([helper.make_node("Gemm", ["a", "b"], ["c"])], "product", square[:2], square[2:])
    data = helper.make_model(product, opset_imports=model.opset_import, ir_version=model.ir_version)
    session, matrix = open_session(data.SerializeToString(), threads, "product"), np.ones((_SIDE, _SIDE), np.float32)
    source, target = np.ones(2**24, np.float32), np.empty(2**24, np.float32)
    a_product = _median_seconds(lambda: session.run(None, {"a": matrix, "b": matrix}))
    a_copy = _median_seconds(lambda: np.copyto(target, source))
    return {
        "multiply_adds": multiply_adds,
        "products_seconds": multiply_adds * a_product / _SIDE**3,
        "moved_bytes": moved,
        "moves_seconds": moved * a_copy / (source.nbytes + target.nbytes),
    }


def _median_seconds(act: Callable[[], object]) -> float:
    taken = []
    for _ in range(12):
        started = time.perf_counter()
        act()
        taken.append(time.perf_counter() - started)
    return statistics.median(taken[2:])


if __name__ == "__main__":
    sys.exit(run_command(BenchStepCommand()))
