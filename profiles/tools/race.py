"""``python profiles/tools/race.py BUNDLE --data D --out DIR``: LightCL, ER and DER++ in PyTorch against the device.

All learn the same pictures, each way in fresh processes. What counts: seconds from the start of the process to the end
of learning, peak RSS until then, and accuracy on test pictures of all classes learned.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from lightcl_edge.bundle.bundle import Bundle
from lightcl_edge.console.program import Command
from lightcl_edge.console.text import Document, format_bytes, table
from lightcl_edge.errors import NoEngineError
from lightcl_edge.machine.child_command import run_command as run_edge
from lightcl_edge.machine.description import describe_machine, usable_cores
from lightcl_profiler.measuring.launcher import run_method
from lightcl_profiler.measuring.workload import make_workload
from lightcl_profiler.methods.contract import Job
from one_command import run_command
from peers.raced import TESTING

_BUFFER, _BATCH, _RATE = 15, 32, 0.01
#: Title, method, class.
_IN_PYTORCH = (
    ("LightCL as its reference does it", "lightcl_torch", "RacedBaseline"),
    ("ER, ours", "er", "RacedBaseline"),
    ("DER++, ours", "derpp", "RacedBaseline"),
    ("ER, Avalanche", "er", "RacedAvalanche"),
    ("DER++, Avalanche", "derpp", "RacedAvalanche"),
    ("ER, Mammoth", "er", "RacedMammoth"),
    ("DER++, Mammoth", "derpp", "RacedMammoth"),
)
_HEADER = ["way", "seconds", "peak RSS", "test accuracy", "times as long", "times the memory"]


@dataclass(frozen=True)
class Course:
    """What everybody runs."""

    tasks: list[Path]  # folders of class folders, in order
    test: Path  # a folder of class folders, beside the tasks
    epochs: int
    threads: int

    @property
    def here(self) -> Path:
        return self.test.parent


class RaceCommand(Command):
    """Learn the same tasks in PyTorch and with lightcl-edge train: seconds, peak memory, accuracy.

    The ways in PyTorch run in one process, lightcl-edge train in one a task. It runs with its default strategy, and
    with LightCL's own loss for as many epochs. Avalanche takes part where it is installed (extra compare), Mammoth
    where --mammoth names a checkout of it.
    """

    name = "race"
    example = (
        "python profiles/tools/race.py bundle --data cifar10:data/cifar10 --test-data data/cifar10/test --out race"
    )

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "bundle", type=Path, metavar="BUNDLE", help="exported --with-baselines, cut as in the paper"
        )
        default = "bundle for the default strategy (default: BUNDLE)"
        parser.add_argument("--default-bundle", type=Path, metavar="B", help=default)
        parser.add_argument("--data", required=True, help="training pictures: a data specification")
        parser.add_argument("--test-data", required=True, help="test pictures of the same classes")
        parser.add_argument("--split", type=int, default=5, help="tasks that the classes make (default 5)")
        parser.add_argument("--learned", type=int, default=2, help="how many of them are learned (default 2)")
        parser.add_argument("--images-per-class", type=int, default=100, help="to learn (default 100)")
        parser.add_argument("--test-images-per-class", type=int, default=200, help="to test (default 200)")
        parser.add_argument("--epochs", type=int, default=50, help="passes over a task (default 50)")
        parser.add_argument("--mammoth", type=Path, metavar="DIR", help="a checkout of Mammoth")
        parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="for race.json and README.md")

    def run(self, args: argparse.Namespace) -> Document:
        paths = [Path(__file__).parent, *([args.mammoth.resolve()] if args.mammoth else [])]
        known = os.environ.get("PYTHONPATH")
        os.environ["PYTHONPATH"] = os.pathsep.join([*map(str, paths), *([known] if known else [])])
        bundle, fast = args.bundle.resolve(), (args.default_bundle or args.bundle).resolve()
        rows: list[Document] = []
        left_out: list[str] = []
        with tempfile.TemporaryDirectory(prefix="race-") as folder:
            course = lay_out(args, Path(folder))
            rows.append(race_ours("lightcl-edge train, default", fast, [], course))
            own = ["--strategy", "lightcl", "--epochs", str(args.epochs)]
            rows.append(race_ours("lightcl-edge train, LightCL's loss", bundle, own, course))
            for title, method, kind in _IN_PYTORCH:
                if kind == "RacedMammoth" and not args.mammoth:
                    left_out.append(f"{title}: --mammoth names no checkout")
                    continue
                args.progress.note(title)
                try:
                    rows.append(race_theirs(title, method, kind, bundle, course))
                except NoEngineError as error:
                    left_out.append(f"{title}: {error}")
        document = {
            "model": Bundle.open(bundle).manifest.model.name,
            "cuts": [Bundle.open(each).manifest.model.cut for each in (fast, bundle)],
            "trunk_dtypes": [Bundle.open(each).manifest.model.trunk_dtype for each in (fast, bundle)],
            "machine": describe_machine().cpu_model,
            "threads": course.threads,
            **{
                name: getattr(args, name) for name in ("learned", "images_per_class", "test_images_per_class", "epochs")
            },
            "rows": rows,
            "left_out": left_out,
        }
        args.out.mkdir(parents=True, exist_ok=True)
        (args.out / "race.json").write_text(json.dumps(document, indent=1) + "\n")
        (args.out / "README.md").write_text(page(document))
        return document

    def render(self, document: Document) -> str:
        return "\n\n".join([table(_cells(document["rows"]), _HEADER), *document["left_out"]])


def lay_out(args: argparse.Namespace, folder: Path) -> Course:
    """Write the pictures of the tasks that are learned, and test pictures of their classes."""
    one = make_workload(args.data, folder / "one", 1, 0, args.split)  # how many classes there are
    classes = sum(len(task) for task in one.tasks)
    learn = make_workload(args.data, folder, args.images_per_class * classes, 0, args.split)
    tasks = list(islice(learn.folders, args.learned))
    every = make_workload(args.test_data, folder / "every", args.test_images_per_class * classes, 0, 1).folders[0]
    test = folder / TESTING
    test.mkdir()
    for task in tasks:
        for each in task.iterdir():
            (every / each.name).rename(test / each.name)
    return Course(tasks, test, args.epochs, usable_cores())


def race_ours(title: str, bundle: Path, options: list[str], course: Course) -> Document:
    """``lightcl-edge train`` for each task, then ``evaluate``, as commands."""
    state, seconds, peaks = str(course.here / title), [], []
    for task in course.tasks:
        words = ["train", "--bundle", str(bundle), "--state", state, "--data", str(task), "--max-forgetting", "1"]
        started = time.perf_counter()
        learned = run_edge([*words, *options]).result()
        seconds.append(time.perf_counter() - started)
        peaks.append(learned["peak_rss_bytes"])
    found = run_edge(["evaluate", "--state", state, "--data", str(course.test)]).result()
    return _row(title, sum(seconds), max(peaks), found["balanced_accuracy"])


def race_theirs(title: str, method: str, kind: str, bundle: Path, course: Course) -> Document:
    """One process for all tasks, which then tests itself."""
    job = Job(
        method=method,
        implementation=f"peers.raced:{kind}",
        bundle=str(bundle),
        tasks=[str(task) for task in course.tasks],
        scratch=str(course.here),
        epochs=course.epochs,
        batch_size=_BATCH,
        learning_rate=_RATE,
        threads=course.threads,
        seed=0,
        engine="auto",
        buffer_samples=_BUFFER,
        device="cpu",
    )
    run = run_method(job, 1)
    learning = [phase for phase in run.phases if phase.name != TESTING]
    ended = learning[-1].start_seconds + learning[-1].seconds
    return _row(title, ended, max(phase.peak_rss_bytes for phase in learning), run.holdout_accuracy or 0.0)


def _row(title: str, seconds: float, peak_rss_bytes: int, accuracy: float) -> Document:
    return {
        "title": title,
        "seconds": round(seconds, 2),
        "peak_rss_bytes": peak_rss_bytes,
        "accuracy": round(accuracy, 4),
    }


def _cells(rows: list[Document]) -> list[list[str]]:
    """The first row is what the others are compared with."""
    first = rows[0]
    return [
        [
            row["title"],
            f"{row['seconds']:.1f}",
            format_bytes(row["peak_rss_bytes"]),
            f"{row['accuracy']:.1%}",
            f"{row['seconds'] / first['seconds']:.1f}",
            f"{row['peak_rss_bytes'] / first['peak_rss_bytes']:.2f}",
        ]
        for row in rows
    ]


def page(document: Document) -> str:
    """The published page."""
    classes = round(document["learned"] * 2)
    cut, own_cut = document["cuts"]
    dtype, own_dtype = document["trunk_dtypes"]
    size, tested = document["images_per_class"], document["test_images_per_class"]
    lines = [
        "# The race",
        "",
        f"{document['learned']} tasks of CIFAR-10, two classes each, with {size} training pictures a class, and",
        f"`{document['model']}`. Each way starts in fresh processes, with the same weights and pictures.",
        f"Accuracy: of {tested} test pictures of each of {classes} classes, among all; chance is {1 / classes:.0%}. In",
        f"PyTorch: {document['epochs']} epochs a task, batch {_BATCH}, SGD at {_RATE}, a buffer of {_BUFFER} pictures;",
        f"a step replays as many. {document['machine']}, {document['threads']} threads.",
        "",
        f"| {' | '.join(_HEADER)} |",
        f"|{'---|' * len(_HEADER)}",
        *(f"| {' | '.join(cells)} |" for cells in _cells(document["rows"])),
        "",
        f"The default strategy makes no step, so it needs no epochs (cut `{cut}`, trunk {dtype}). LightCL's loss makes",
        f"{document['epochs']} epochs (cut `{own_cut}`, trunk {own_dtype}). Seconds count from the start of a process,",
        "with imports. `python profiles/tools/race.py` runs all of it again (`--help` has an example).",
    ]
    return "\n".join([*lines, *(f"\nLeft out: {each}." for each in document["left_out"])]) + "\n"


if __name__ == "__main__":
    sys.exit(run_command(RaceCommand()))
