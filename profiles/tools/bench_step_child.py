"""What one process of ``bench_step`` does: ``python profiles/tools/bench_step_child.py < job.json``."""

import json
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from lightcl_edge.bundle.bundle import HEAD, HEAD_PARAMETERS, Bundle
from lightcl_edge.bundle.manifest import HeadInfo
from lightcl_edge.errors import BundleError, LightclError, NoEngineError, UsageError
from lightcl_edge.files.tensors import TensorFile
from lightcl_edge.learning.engines.contract import Batch, Engine, PatternTerm
from lightcl_edge.machine.process_memory import peak_rss_bytes

METHODS = ("ort_auto", "ort_in_place", "ort_accumulate", "torch_engine", "torch_sgd")
REFERENCE = "torch_sgd"
TORCH_ENGINE = "torch_engine"


@dataclass(frozen=True)
class StepJob:
    """What one process does."""

    bundle: str
    method: str
    samples: int  # new ones in each step
    buffered_samples: int  # with patterns, in each step
    steps: int
    threads: int


@dataclass(frozen=True)
class StepRecord:
    """What one process measured."""

    peak_rss_bytes: int
    import_rss_bytes: int  # peak once everything was imported
    load_rss_bytes: int  # peak once head and batch were in memory
    seconds_per_step: float  # median, without the first step
    loss: float


Stepper = Callable[[Batch], float]


def random_batch(head: HeadInfo, feature_shape: list[int], pattern_shapes: dict[str, list[int]], job: StepJob) -> Batch:
    """The batch that all methods learn, from one seed."""
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
        logit_offset=np.zeros((samples, head.capacity), np.float32),
        weights=np.full(samples, 1 / samples, np.float32),
        learning_rate=1e-3,
        patterns=patterns,
    )


def _engine_stepper(bundle: Bundle, job: StepJob) -> Stepper:
    engine = (_torch_engine if job.method == TORCH_ENGINE else _ort_engine)(bundle, job)
    engine.load(TensorFile(bundle.path(HEAD_PARAMETERS), BundleError))
    return engine.step


def _ort_engine(bundle: Bundle, job: StepJob) -> Engine:
    from lightcl_edge.learning.engines.ort_engine import OrtEngine
    from lightcl_edge.planning.ort import spare_step_bytes

    info = bundle.manifest.head
    update = job.method.removeprefix("ort_")
    spare = spare_step_bytes(bundle.manifest, job.samples, job.buffered_samples)
    shape, patterns = bundle.manifest.feature.shape, job.buffered_samples > 0
    return OrtEngine(bundle.path(HEAD), info, shape, bundle.step_graphs(), job.threads, update, spare, patterns)


def _torch_engine(bundle: Bundle, job: StepJob) -> Engine:
    from lightcl_edge.learning.engines.torch_engine import TorchEngine

    return TorchEngine(bundle.path(HEAD), bundle.manifest.head, job.threads)


def _torch_stepper(bundle: Bundle, job: StepJob) -> Stepper:
    """What a user of PyTorch writes: forward, backward, ``optimizer.step()``."""
    try:
        import torch
    except ImportError as error:
        raise NoEngineError(f"{REFERENCE} needs torch ({error}); leave it out with --methods") from error
    from torch.nn.functional import cross_entropy

    from lightcl_edge.learning.engines.torch_graph import load_module

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
    """Name -> shape for one sample of the head's pattern tensors, read from a step graph's inputs.

    Raises a UsageError when the bundle has no graph with buffered samples.
    """
    from lightcl_edge.learning.engines.ort_session import open_session

    for graph in bundle.manifest.training_step:
        if graph.buffered_samples:
            session = open_session(bundle.path(graph.path), 1, graph.path)
            inputs = {value.name: list(value.shape) for value in session.get_inputs()}
            return {name: inputs[f"target.{name}"][1:] for name in bundle.manifest.head.patterns}
    raise UsageError("the bundle has no training_step graph with buffered samples, expected one; use --buffer 0")


def run_job(job: StepJob, shapes: dict[str, list[int]]) -> StepRecord:
    """Do the steps in this process and measure them."""
    if job.method in (REFERENCE, TORCH_ENGINE):
        import torch  # noqa: F401
    else:
        import onnxruntime  # noqa: F401
    import_bytes = peak_rss_bytes()
    bundle = Bundle.open(job.bundle)
    batch = random_batch(bundle.manifest.head, bundle.manifest.feature.shape, shapes, job)
    step = (_torch_stepper if job.method == REFERENCE else _engine_stepper)(bundle, job)
    load_bytes, seconds, loss = peak_rss_bytes(), [], 0.0
    for _ in range(job.steps):
        started = time.perf_counter()
        loss = step(batch)
        seconds.append(time.perf_counter() - started)
    return StepRecord(peak_rss_bytes(), import_bytes, load_bytes, statistics.median(seconds[1:]), loss)


def main() -> int:
    """Read the job, do it, print the record; a user's error goes to stderr."""
    request = json.load(sys.stdin)
    try:
        record = run_job(StepJob(**request["job"]), request["shapes"])
    except LightclError as error:
        print(error, file=sys.stderr)
        return int(error.exit_code)
    print(json.dumps(asdict(record)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
