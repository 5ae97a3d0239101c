"""Compares training steps of a bundle's head: ``python -m lightcl_profiler.bench_step BUNDLE``.

Each method runs in fresh processes on the same random batch with the same threads: the ``ort`` engine, in place
and accumulating, against plain SGD in bare PyTorch. A peak is that of the whole process, imports included.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lightcl_edge.bundle import HEAD, HEAD_PARAMETERS, Bundle
from lightcl_edge.console import Command, Document, format_bytes, run_program, table
from lightcl_edge.engines.contract import Batch, PatternTerm
from lightcl_edge.errors import BundleError, LightclError, NoEngineError, UsageError
from lightcl_edge.manifest import HeadInfo
from lightcl_edge.memory import peak_rss_bytes
from lightcl_edge.tensor_file import TensorFile

METHODS = ("ort_in_place", "ort_accumulate", "torch_sgd")
REFERENCE = "torch_sgd"


@dataclass(frozen=True)
class StepJob:
    """What one process does.

    Attributes:
        bundle: its path.
        method: one of ``METHODS``.
        samples: new samples a step.
        buffered_samples: samples with patterns a step.
        steps: how many.
        threads: for each operator.
    """

    bundle: str
    method: str
    samples: int
    buffered_samples: int
    steps: int
    threads: int


@dataclass(frozen=True)
class StepRecord:
    """What one process measured.

    Attributes:
        peak_rss_bytes: of the whole process.
        import_rss_bytes: peak once everything was imported.
        load_rss_bytes: peak once head and batch were in memory.
        seconds_per_step: median, without the first step.
        loss: of the last step.
    """

    peak_rss_bytes: int
    import_rss_bytes: int
    load_rss_bytes: int
    seconds_per_step: float
    loss: float


Stepper = Callable[[Batch], float]


def random_batch(head: HeadInfo, feature_shape: list[int], pattern_shapes: dict[str, list[int]], job: StepJob) -> Batch:
    """The batch that all methods learn, from one seed.

    Args:
        head: of the bundle.
        feature_shape: of one sample.
        pattern_shapes: pattern tensor -> its shape for one sample.
        job: the batch's sizes.

    Returns:
        The batch; half of all channels are held.
    """
    generator = np.random.default_rng(0)

    def positive(*shape: int) -> np.ndarray[Any, np.dtype[np.float32]]:
        return np.maximum(generator.standard_normal(shape, dtype=np.float32), 0)

    samples, patterns = job.samples, None
    if job.buffered_samples:
        targets = {name: positive(job.buffered_samples, *shape) for name, shape in pattern_shapes.items()}
        masks = {name: (np.arange(shape[0]) % 2).astype(np.float32) for name, shape in pattern_shapes.items()}
        patterns = PatternTerm(positive(job.buffered_samples, *feature_shape), targets, masks, beta=1e-6)
    return Batch(
        features=positive(samples, *feature_shape),
        labels=generator.integers(0, head.capacity, samples),
        logit_mask=np.ones((samples, head.capacity), np.float32),
        weights=np.full(samples, 1 / samples, np.float32),
        learning_rate=1e-3,
        patterns=patterns,
    )


def _ort_stepper(bundle: Bundle, job: StepJob) -> Stepper:
    from lightcl_edge.engines.ort_engine import OrtEngine

    info = bundle.manifest.head
    steps = [(graph, bundle.path(graph.path)) for graph in bundle.manifest.training_step]
    update = job.method.removeprefix("ort_")
    engine = OrtEngine(bundle.path(HEAD), info, bundle.manifest.feature.shape, steps, job.threads, update)
    engine.load(TensorFile(bundle.path(HEAD_PARAMETERS), BundleError))
    return engine.step


def _torch_stepper(bundle: Bundle, job: StepJob) -> Stepper:
    """What a user of PyTorch writes: forward, backward, ``optimizer.step()``."""
    try:
        import torch
    except ImportError as error:
        raise NoEngineError(f"{REFERENCE} needs torch ({error}); leave it out with --methods") from error
    from torch.nn.functional import cross_entropy

    from lightcl_edge.graph_to_torch import load_module

    torch.set_num_threads(job.threads)
    module = load_module(bundle.path(HEAD), [parameter.name for parameter in bundle.manifest.head.parameters])
    optimizer: torch.optim.SGD | None = None

    def step(batch: Batch) -> float:
        nonlocal optimizer
        if optimizer is None:
            optimizer = torch.optim.SGD(list(module.named_tensors().values()), lr=batch.learning_rate)
        patterns, count = batch.patterns, len(batch.features)
        rows = batch.features if patterns is None else np.concatenate([batch.features, patterns.features])
        names = ["logits"] if patterns is None else list(patterns.targets)
        values = module(torch.from_numpy(rows), names)
        loss = cross_entropy(values["logits"][:count], torch.from_numpy(batch.labels))
        if patterns is not None:
            for name, target in patterns.targets.items():
                mask = torch.from_numpy(patterns.masks[name]).reshape(-1, *[1] * (target.ndim - 2))
                difference = values[name][count:] - torch.from_numpy(target)
                loss = loss + patterns.beta * (mask * difference**2).sum()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        return float(loss.detach())

    return step


def pattern_shapes(bundle: Bundle) -> dict[str, list[int]]:
    """Shapes of the head's pattern tensors for one sample, read from a step graph's inputs.

    Args:
        bundle: with training-step graphs.

    Returns:
        Name -> shape.

    Raises:
        UsageError: when the bundle has no graph with buffered samples.
    """
    from lightcl_edge.engines.ort_session import open_session, session_options

    for graph in bundle.manifest.training_step:
        if graph.buffered_samples:
            session = open_session(bundle.path(graph.path), session_options(1), graph.path)
            inputs = {value.name: list(value.shape) for value in session.get_inputs()}
            return {name: inputs[f"target.{name}"][1:] for name in bundle.manifest.head.patterns}
    raise UsageError("the bundle has no training_step graph with buffered samples, expected one; use --buffer 0")


def run_job(job: StepJob, shapes: dict[str, list[int]]) -> StepRecord:
    """Do the steps in this process and measure them.

    Args:
        job: what to do.
        shapes: of the pattern tensors.

    Returns:
        The measurement.
    """
    if job.method == REFERENCE:
        import torch  # noqa: F401
    else:
        import onnxruntime  # noqa: F401
    import_bytes = peak_rss_bytes()
    bundle = Bundle.open(job.bundle)
    batch = random_batch(bundle.manifest.head, bundle.manifest.feature.shape, shapes, job)
    step = _torch_stepper(bundle, job) if job.method == REFERENCE else _ort_stepper(bundle, job)
    load_bytes, seconds, loss = peak_rss_bytes(), [], 0.0
    for _ in range(job.steps):
        started = time.perf_counter()
        loss = step(batch)
        seconds.append(time.perf_counter() - started)
    return StepRecord(peak_rss_bytes(), import_bytes, load_bytes, statistics.median(seconds[1:]), loss)


def run_in_child(job: StepJob, shapes: dict[str, list[int]]) -> StepRecord:
    """The same in a fresh process.

    Args:
        job: what to do.
        shapes: of the pattern tensors.

    Returns:
        The child's measurement.

    Raises:
        NoEngineError: with the child's last words, when it failed.
    """
    request = json.dumps({"job": asdict(job), "shapes": shapes})
    command = [sys.executable, "-m", "lightcl_profiler.bench_step", "--child"]
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
    example = "python -m lightcl_profiler.bench_step out/bundle --runs 5"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare the arguments."""
        parser.add_argument("bundle", type=Path, metavar="BUNDLE")
        parser.add_argument("--methods", default=",".join(METHODS), help="some of: " + ", ".join(METHODS))
        parser.add_argument("--batch-size", type=int, default=32, metavar="N", help="new samples (default 32)")
        parser.add_argument("--buffer", type=int, default=15, metavar="N", help="buffered samples (default 15)")
        parser.add_argument("--steps", type=int, default=8, metavar="N", help="steps a run, at least 2 (default 8)")
        parser.add_argument("--runs", type=int, default=5, metavar="N", help="processes a method (default 5)")
        parser.add_argument("--threads", type=int, default=2, metavar="N", help="for each operator (default 2)")

    def run(self, args: argparse.Namespace) -> Document:
        """Run all methods in turn and take medians."""
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
        """The medians as a table."""
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


def _child() -> int:
    request = json.load(sys.stdin)
    try:
        record = run_job(StepJob(**request["job"]), request["shapes"])
    except LightclError as error:
        print(error, file=sys.stderr)
        return int(error.exit_code)
    print(json.dumps(asdict(record)))
    return 0


def main() -> int:
    """The command, or one of its children."""
    if sys.argv[1:] == ["--child"]:
        return _child()
    arguments = sys.argv[1:]
    if arguments[:1] != [BenchStepCommand.name]:
        arguments = [BenchStepCommand.name, *arguments]
    return run_program("lightcl_profiler.bench_step", __doc__.splitlines()[0], lambda: [BenchStepCommand()], arguments)


if __name__ == "__main__":
    sys.exit(main())
