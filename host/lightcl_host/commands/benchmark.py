"""``lightcl-host benchmark``."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from lightcl_edge.console.completion import add_completer, names_of
from lightcl_edge.console.program import Command
from lightcl_edge.console.text import Document, parse_bytes
from lightcl_edge.errors import UsageError
from lightcl_host.commands.arguments import add_model_arguments

if TYPE_CHECKING:
    from lightcl_host.benchmark.options import BenchmarkOptions


class BenchmarkCommand(Command):
    """Compare ways of learning one task after the other: accuracy, forgetting and transfer over several seeds.

    The classes of --data, in their order, are cut into --tasks tasks. Each method learns them one after the other;
    after each task all test images are classified, among all classes seen so far (class-incremental) and among those
    of their own task (task-incremental). joint is given all tasks at once: the upper bound. Features are extracted
    once; a run that is there already is not repeated, so that the same command goes on after an interruption.

    Each run is a process of its own, --jobs of them at a time. Beside accuracies there are the operations and the
    memory that the LightCL paper's formulas give (calculated), its own figures where the data are the paper's
    (published), and the peak of the whole process (measured): of a baseline's run itself; of the device's strategies
    that of lightcl-edge train on images of the same tasks. Writes benchmark.json and report.html, one file that needs
    nothing else.

    Test images are the source's own test split (cifar10:FOLDER, tinyimagenet:FOLDER, digits) or --test-data; of other
    data, every fifth image of a class. --validation tests on every fifth training image instead: use it to choose
    settings, and the test images only to report.
    """

    name: ClassVar[str] = "benchmark"
    example: ClassVar[str] = (
        "lightcl-host benchmark --methods joint,replay,slda --model efficientnet_lite0 --image-size 128 "
        "--data cifar10:data/cifar10 --images-per-class 300 --seeds 0,1,2 --out bench"
    )

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        add_model_arguments(parser)
        methods = parser.add_argument(
            "--methods", default="joint,auto", metavar="A,B", help="which (default: joint,auto)"
        )
        add_completer(methods, names_of(_method_names))
        parser.add_argument("--data", required=True, metavar="D", help="training images: a data specification")
        parser.add_argument("--test-data", metavar="D", help="test images (default: see above)")
        parser.add_argument(
            "--validation", action="store_true", help="test on training images that are not learned from"
        )
        parser.add_argument("--tasks", type=int, default=5, metavar="N", help="tasks (default 5)")
        parser.add_argument("--images-per-class", type=int, metavar="N", help="to learn from (default: all)")
        parser.add_argument("--test-images-per-class", type=int, metavar="N", help="to test on (default: all)")
        parser.add_argument(
            "--buffer", default="2000000", metavar="SIZE", help="memory of earlier tasks (default 2000000)"
        )
        parser.add_argument("--epochs", type=int, metavar="N", help="passes over a task (default: the method's own)")
        parser.add_argument("--learning-rate", type=float, metavar="F", help="of SGD (default: the method's own)")
        parser.add_argument("--batch-size", type=int, default=32, metavar="N", help="samples a step (default 32)")
        parser.add_argument("--seeds", default="0", metavar="0,1,..", help="each method is run with each (default 0)")
        parser.add_argument(
            "--bundle", type=Path, metavar="B", help="use this bundle of the model (default: export one)"
        )
        parser.add_argument("--cut", default="auto", metavar="NAME", help="where to cut the bundle that is exported")
        parser.add_argument("--trunk-dtype", default="auto", metavar="TYPE", help="of the bundle that is exported")
        parser.add_argument("--engine", choices=("auto", "ort", "torch"), default="auto", help="default: auto")
        parser.add_argument("--threads", type=int, metavar="N", help="processors to use (default: all)")
        parser.add_argument(
            "--torch-device",
            choices=("auto", "cpu", "cuda"),
            default="auto",
            help="of the methods in PyTorch (default auto: CUDA where torch sees it)",
        )
        parser.add_argument("--jobs", type=int, default=1, metavar="N", help="runs at a time (default 1)")
        parser.add_argument(
            "--no-memory",
            action="store_true",
            help="leave out measuring the device's strategies with lightcl-edge train",
        )
        parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder of results")

    def run(self, args: argparse.Namespace) -> Document:
        import json

        from lightcl_edge.files.durable import replace_durably
        from lightcl_host.benchmark.document import make_document
        from lightcl_host.benchmark.runner import benchmark_bundle, run_benchmark
        from lightcl_profiler.reports.benchmark import render_benchmark

        options = _options(args)
        bundle = benchmark_bundle(options, args.progress)
        records = run_benchmark(options, bundle, args.progress)
        document = make_document(options, bundle, records, command_line(args), args.progress)
        replace_durably(options.out / "benchmark.json", (json.dumps(document, indent=1) + "\n").encode())
        replace_durably(options.out / "report.html", render_benchmark(document).encode())
        return document

    def render(self, document: Document) -> str:
        from lightcl_host.benchmark.report import render

        return render(document)


def _options(args: argparse.Namespace) -> BenchmarkOptions:
    """The record of what was asked for.

    Args:
        args: parsed arguments.

    Returns:
        The record.

    Raises:
        UsageError: when a value is out of range.
    """
    from lightcl_host.benchmark.data import DataOptions
    from lightcl_host.benchmark.methods import parse_methods
    from lightcl_host.benchmark.options import BenchmarkOptions
    from lightcl_host.commands.arguments import source_options

    for name in ("tasks", "images_per_class", "test_images_per_class", "epochs", "batch_size", "threads", "jobs"):
        value = getattr(args, name)
        if value is not None and value < 1:
            raise UsageError(f"--{name.replace('_', '-')} {value}; expected 1 or more")
    if args.learning_rate is not None and not args.learning_rate > 0:
        raise UsageError(f"--learning-rate {args.learning_rate}; expected a number above 0")
    data = DataOptions(
        args.data, args.test_data, args.tasks, args.images_per_class, args.test_images_per_class, args.validation
    )
    return BenchmarkOptions(
        source=source_options(args),
        bundle=args.bundle,
        cut=args.cut,
        trunk_dtype=args.trunk_dtype,
        data=data,
        methods=parse_methods(args.methods),
        seeds=_seeds(args.seeds),
        buffer_bytes=parse_bytes(args.buffer),
        epochs=args.epochs,
        batch_size=args.batch_size,
        learning_rate=args.learning_rate,
        threads=args.threads,
        engine=args.engine,
        out=args.out,
        torch_device=args.torch_device,
        jobs=args.jobs,
        measure_memory=not args.no_memory,
    )


def command_line(args: argparse.Namespace) -> str:
    """The command that repeats this benchmark, every option spelt out.

    Args:
        args: parsed arguments.

    Returns:
        For a shell.
    """
    options = "model weights image_size mean std seed methods data test_data validation tasks images_per_class "
    options += "test_images_per_class buffer epochs learning_rate batch_size seeds bundle cut trunk_dtype engine "
    options += "threads torch_device jobs no_memory out"
    words = ["lightcl-host", "benchmark"]
    for name in options.split():
        value, option = getattr(args, name), f"--{name.replace('_', '-')}"
        if value is True:
            words.append(option)
        elif value is not None and value is not False:
            words += [option, str(value)]
    return shlex.join(words)


def _seeds(text: str) -> list[int]:
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not parts or not all(part.isdecimal() for part in parts):
        raise UsageError(f"--seeds {text}; expected whole numbers such as 0,1,2")
    return list(dict.fromkeys(int(part) for part in parts))


def _method_names() -> list[str]:
    from lightcl_host.benchmark.methods import METHODS

    return list(METHODS)
