"""``lightcl-edge profile``: measure what each way of learning costs on this machine."""

import argparse
import json
import math
from pathlib import Path

from lightcl_edge.commands.arguments import positive
from lightcl_edge.console.completion import add_completer, names_of
from lightcl_edge.console.program import Command
from lightcl_edge.console.progress import Progress
from lightcl_edge.console.text import Document, parse_memory
from lightcl_edge.errors import ExitCode, UsageError

DEFAULT_RUNS = 3
DEFAULT_EPOCHS = 2
_OPTIONS = """bundle data methods runs epochs batch_size max_images threads engine seed tasks buffer_size learning_rate
device limit out"""


class ProfileCommand(Command):
    """Measure the peak memory and time of ways of learning, each in a fresh process.

    All methods get the same images, batch size, threads, seed and epochs. Writes report.json and report.html
    (one self-contained file) and prints a table. With four classes or more the data is learned as two tasks.
    """

    name = "profile"
    example = "lightcl-edge profile --bundle BUNDLE --data photos/ --methods slda,replay,sgd --runs 3 --out profile/"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        from lightcl_profiler.methods import DEFAULT, METHODS

        parser.add_argument("--bundle", required=True, help="the bundle")
        parser.add_argument("--data", required=True, help="images: a folder of class folders, .npz, or a named source")
        parser.add_argument("--out", required=True, type=Path, help="folder for report.json and report.html")
        methods = f"comma-separated, of: {', '.join(METHODS)}; or all (default: {','.join(DEFAULT)}, if they can run)"
        chosen = parser.add_argument("--methods", help=methods)
        add_completer(chosen, names_of(lambda: METHODS))
        runs = f"processes for each method, taking turns (default: {DEFAULT_RUNS})"
        parser.add_argument("--runs", type=positive, default=DEFAULT_RUNS, help=runs)
        epochs = f"passes over each task (default: {DEFAULT_EPOCHS}; peaks do not grow with more)"
        parser.add_argument("--epochs", type=positive, default=DEFAULT_EPOCHS, help=epochs)
        parser.add_argument("--batch-size", type=positive, help="images in each step (default: the bundle's)")
        most = "use at most so many, spread evenly over the classes (default: all)"
        parser.add_argument("--max-images", type=positive, help=most)
        parser.add_argument("--threads", type=positive, help="threads of each library (default: the usable cores)")
        engine = "engine of lightcl (default: auto)"
        parser.add_argument("--engine", choices=("auto", "ort", "torch"), default="auto", help=engine)
        tasks = "how many tasks the classes are divided into (default: 2 with four classes or more, else 1)"
        parser.add_argument("--tasks", type=positive, help=tasks)
        buffer = "images or features a method may keep of earlier tasks (default: the bundle's)"
        parser.add_argument("--buffer-size", type=positive, help=buffer)
        parser.add_argument("--learning-rate", type=float, help="learning rate of plain SGD (default: the bundle's)")
        device = "where the baselines run; auto takes CUDA where torch sees it (default: auto)"
        parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help=device)
        limit = "also find the smallest memory limit, up to SIZE, under which each method completes"
        parser.add_argument("--limit", metavar="SIZE", help=f"{limit} (example: 256MiB)")
        parser.add_argument("--seed", type=int, default=0, help="seed of every random choice (default: 0)")

    def run(self, args: argparse.Namespace) -> Document:
        """Profile, write both reports, return the JSON one."""
        import tempfile
        from datetime import datetime, timezone

        from lightcl_profiler.measuring.session import Settings, profile
        from lightcl_profiler.methods import default_methods, parse_methods

        out: Path = args.out
        if args.learning_rate is not None and not 0 < args.learning_rate < math.inf:
            raise UsageError(f"--learning-rate {args.learning_rate}; expected a number above 0")
        if out.exists() and not out.is_dir():
            raise UsageError(f"--out {out} is a file, expected a folder to write report.json and report.html into")
        out.mkdir(parents=True, exist_ok=True)
        progress: Progress = args.progress
        if args.methods is None:
            methods, left_out = default_methods(Path(args.bundle))
            args.methods = ",".join(methods)  # in the command that repeats it
        else:
            methods, left_out = parse_methods(args.methods), []
        for each in left_out:
            progress.note(f"left out: {each}")
        settings = Settings(
            bundle=args.bundle,
            data=args.data,
            methods=methods,
            runs=args.runs,
            epochs=args.epochs,
            batch_size=args.batch_size,
            max_images=args.max_images,
            threads=args.threads,
            engine=args.engine,
            seed=args.seed,
            tasks=args.tasks,
            buffer_samples=args.buffer_size,
            learning_rate=args.learning_rate,
            device=args.device,
            limit_bytes=parse_memory(args.limit) if args.limit else None,
            left_out=tuple(left_out),
        )
        created = datetime.now(timezone.utc).isoformat(timespec="seconds")
        with tempfile.TemporaryDirectory(prefix="work-", dir=out) as scratch:
            report = profile(settings, command_line(args), created, Path(scratch), progress)
        document = report.to_document()
        from lightcl_profiler.reports.profile import render_profile  # jinja2: not before all is measured

        (out / "report.json").write_text(json.dumps(document, indent=1, allow_nan=False) + "\n", encoding="utf-8")
        (out / "report.html").write_text(render_profile(report), encoding="utf-8")
        progress.note(f"wrote {out / 'report.json'} and {out / 'report.html'}")
        return document

    def render(self, document: Document) -> str:
        from lightcl_profiler.records.record import Report
        from lightcl_profiler.reports.text import render_text

        return render_text(Report.from_document(document))

    def exit_code(self, document: Document) -> ExitCode:
        """Done, or what the first run that a signal ended stands for."""
        failures = document["failures"]
        return ExitCode(failures[0]["exit_code"]) if failures else ExitCode.DONE


def command_line(args: argparse.Namespace) -> str:
    """The command that repeats this profile, every option spelt out."""
    import shlex

    words = ["lightcl-edge", "profile"]
    for name in _OPTIONS.split():
        value = getattr(args, name)
        if value is not None:
            words += [f"--{name.replace('_', '-')}", str(value)]
    return shlex.join(words)
