"""``lightcl-host benchmark``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from lightcl_edge.console.completion import add_completer, names_of
from lightcl_edge.console.program import Command
from lightcl_edge.console.text import Document, parse_bytes
from lightcl_edge.errors import UsageError
from lightcl_host.commands.arguments import (
    MODEL_ARGUMENTS,
    add_model_arguments,
    check_counts,
    check_learning_rate,
    command_line,
    options_from,
    source_options,
)

if TYPE_CHECKING:
    from lightcl_host.benchmark.options import BenchmarkOptions


_DATA = ("data", "test_data", "validation", "tasks", "images_per_class", "test_images_per_class", "buffer")
_TRAINING = ("epochs", "learning_rate", "batch_size", "seeds", "bundle", "cut", "trunk_dtype", "engine")
_PROCESSES = ("threads", "torch_device", "jobs", "ray", "no_memory", "out")
#: The options that repeat a benchmark.
_SPELT_OUT = (*MODEL_ARGUMENTS, "seed", "methods", *_DATA, *_TRAINING, *_PROCESSES)


class BenchmarkCommand(Command):
    """Compare ways of learning one task after the other: accuracy, forgetting and transfer over several seeds.

    The classes of --data are cut into --tasks tasks, in their order. Each method learns them one after the other. After
    each task all test images are classified in two ways: among all classes seen so far (class-incremental), and among
    the classes of their own task (task-incremental). The method joint gets all tasks at once: it is the upper bound.

    Each run is a process of its own, --jobs of them at a time. Features are extracted once. A finished run is not
    repeated, so the same command goes on after an interruption.

    There are three kinds of cost figures. Calculated: operations and memory by the formulas of the LightCL paper.
    Published: the paper's own figures, where the data are the paper's. Measured: the peak memory of a whole process.
    For a baseline that process is the run itself. For a strategy of the device it is lightcl-edge train, which learns
    images of the same tasks.

    Writes benchmark.json and report.html, which is one file that needs nothing else.

    Test images are the source's own test split (cifar10:FOLDER, tinyimagenet:FOLDER, digits) or --test-data. Of data
    without a test split, every fifth image of a class is a test image. With --validation every fifth training image is
    tested instead. Choose settings that way, and use the test images only to report.
    """

    name: ClassVar[str] = "benchmark"
    example: ClassVar[str] = (
        "lightcl-host benchmark --methods joint,replay,slda --model efficientnet_lite0 --image-size 128 "
        "--data cifar10:data/cifar10 --images-per-class 300 --seeds 0,1,2 --out bench"
    )

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        add_model_arguments(parser)
        methods = parser.add_argument("--methods", default="joint,auto", metavar="A,B", help="default: joint,auto")
        add_completer(methods, names_of(_method_names))
        parser.add_argument("--data", required=True, metavar="D", help="training images: a data specification")
        parser.add_argument("--test-data", metavar="D", help="test images (default: see above)")
        parser.add_argument("--validation", action="store_true", help="test on training images that no method learns")
        parser.add_argument(
            "--tasks", type=int, metavar="N", help="number of tasks (default 5, or one a class where there are fewer)"
        )
        parser.add_argument("--images-per-class", type=int, metavar="N", help="to learn from (default: all)")
        parser.add_argument("--test-images-per-class", type=int, metavar="N", help="to test on (default: all)")
        parser.add_argument(
            "--buffer",
            default="2000000",
            metavar="SIZE",
            help="what may be kept of earlier tasks (default 2000000)",
        )
        parser.add_argument("--epochs", type=int, metavar="N", help="passes over a task (default: the method's own)")
        parser.add_argument("--learning-rate", type=float, metavar="F", help="of SGD (default: the method's own)")
        parser.add_argument("--batch-size", type=int, default=32, metavar="N", help="samples a step (default 32)")
        parser.add_argument("--seeds", default="0", metavar="0,1,..", help="each method is run with each (default 0)")
        parser.add_argument(
            "--bundle", type=Path, metavar="B", help="use this bundle of the model (default: export one)"
        )
        parser.add_argument("--cut", default="auto", metavar="NAME", help="where to cut a bundle that is exported here")
        parser.add_argument("--trunk-dtype", default="auto", metavar="TYPE", help="of a bundle that is exported here")
        parser.add_argument(
            "--engine",
            choices=("auto", "ort", "torch"),
            default="auto",
            help="default: auto",
        )
        parser.add_argument("--threads", type=int, metavar="N", help="processors to use (default: all)")
        parser.add_argument(
            "--torch-device",
            choices=("auto", "cpu", "cuda"),
            default="auto",
            help="of the methods in PyTorch (default auto: CUDA where torch sees it)",
        )
        parser.add_argument("--jobs", type=int, metavar="N", help="runs at a time (default 1, or all with --ray)")
        parser.add_argument("--ray", metavar="ADDRESS", help="run on a cluster of Ray: local, auto or ray://HOST:10001")
        parser.add_argument(
            "--no-memory",
            action="store_true",
            help="do not measure the device's strategies with lightcl-edge train",
        )
        parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder of results")

    def run(self, args: argparse.Namespace) -> Document:
        import json

        from lightcl_edge.files.durable import replace_durably
        from lightcl_host.benchmark.document import make_document
        from lightcl_host.benchmark.ray_cluster import RayCluster
        from lightcl_host.benchmark.runner import benchmark_bundle, run_benchmark
        from lightcl_profiler.reports.benchmark import render_benchmark

        options = _options(args)
        cluster = None if args.ray is None else RayCluster(args.ray)
        bundle = benchmark_bundle(options, args.progress)
        records = run_benchmark(options, bundle, args.progress, cluster)
        document = make_document(options, bundle, records, command_line("benchmark", args, _SPELT_OUT), args.progress)
        replace_durably(options.out / "benchmark.json", (json.dumps(document, indent=1) + "\n").encode())
        replace_durably(options.out / "report.html", render_benchmark(document).encode())
        return document

    def render(self, document: Document) -> str:
        from lightcl_host.benchmark.report import render

        return render(document)


def _options(args: argparse.Namespace) -> BenchmarkOptions:
    """What was asked for; a UsageError when a value is out of range."""
    from lightcl_host.benchmark.data import fitting_tasks
    from lightcl_host.benchmark.methods import METHODS
    from lightcl_host.benchmark.options import BenchmarkOptions, DataOptions
    from lightcl_profiler.methods import parse_methods

    check_counts(
        args, ("tasks", "images_per_class", "test_images_per_class", "epochs", "batch_size", "threads", "jobs")
    )
    check_learning_rate(args)
    methods, seeds = parse_methods(args.methods, METHODS), _seeds(args.seeds)
    return options_from(
        BenchmarkOptions,
        args,
        source=source_options(args),
        data=options_from(DataOptions, args, tasks=fitting_tasks(args.data) if args.tasks is None else args.tasks),
        methods=methods,
        seeds=seeds,
        jobs=args.jobs or (len(methods) * len(seeds) if args.ray else 1),
        buffer_bytes=parse_bytes(args.buffer),
        measure_memory=not args.no_memory,
    )


def _seeds(text: str) -> list[int]:
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not parts or not all(part.isdecimal() for part in parts):
        raise UsageError(f"--seeds {text}; expected whole numbers such as 0,1,2")
    return list(dict.fromkeys(int(part) for part in parts))


def _method_names() -> list[str]:
    from lightcl_host.benchmark.methods import METHODS

    return list(METHODS)
