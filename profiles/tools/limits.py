"""``python profiles/tools/limits.py BUNDLE...``: training and predicting under limits that the kernel enforces.

This tries every bundle, engine and limit. A run that fits by its plan must complete. Any other run must be refused with
exit code 5 before it starts. No run may be killed. ``make test-limits`` does this for four bundles.
"""

import argparse
import itertools
import json
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path

from lightcl_edge.bundle.bundle import Bundle
from lightcl_edge.console.program import Command
from lightcl_edge.console.text import Document, format_bytes, parse_memory, table
from lightcl_edge.errors import ExitCode, UsageError
from lightcl_edge.machine.description import describe_machine
from lightcl_edge.machine.memory_limits import MEMORY_RESERVE_BYTES
from lightcl_profiler.measuring.limited_run import Attempt, run_limited
from lightcl_profiler.measuring.memory_group import MemoryGroup, NoGroupError
from one_command import run_command
from photos import make_photos

LIMITS = ("416MiB", "256MiB", "160MiB")
ENGINES = ("ort", "torch")
#: Two tasks: the second has a memory of the first, and patterns to hold.
TASKS = (("apple", "bolt"), ("cup", "die"))
STRATEGIES = ("replay", "lightcl")
_PHOTOS, _PREDICTED = 12, 16
#: One task of as many classes as the bundle has rows, but at most so many; small pictures, so that it takes minutes.
_MOST_CLASSES, _SMALL_PICTURE = 600, (160, 120)
#: A process is not of the same size each time it plans.
_JITTER_BYTES = 2 * 2**20


class LimitsCommand(Command):
    """Train two tasks and predict inside memory control groups, and compare with what the plan said.

    Images are 12-megapixel JPEG files, as a camera writes them. Each run is a process of its own in a group of its own,
    without swap. After the given limits, each run is tried under the tightest limit that its plan allows. The exit code
    is 0 when all runs ended as planned and none was killed, else 5.
    """

    name = "limits"
    example = "python profiles/tools/limits.py bundle --limit 160MiB --out limits.json"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("bundles", nargs="+", type=Path, metavar="BUNDLE", help="folder or .lclb file")
        limits = f"may be given several times (default: {', '.join(LIMITS)})"
        parser.add_argument("--limit", action="append", metavar="SIZE", help=limits)
        parser.add_argument("--engine", choices=(*ENGINES, "all"), default="all", help="default: all")
        parser.add_argument("--strategy", choices=STRATEGIES, action="append", help="default: both")
        parser.add_argument("--out", type=Path, metavar="FILE", help="also write the result here")

    def run(self, args: argparse.Namespace) -> Document:
        limits = [parse_memory(text) for text in args.limit or LIMITS]
        engines = ENGINES if args.engine == "all" else (args.engine,)
        _refuse_without_groups()
        attempts: list[Attempt] = []
        with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:  # a disk: memory of a tmpfs would be charged too
            scratch = Path(folder)
            photos = [make_photos(scratch / f"task-{at}", names, _PHOTOS, at) for at, names in enumerate(TASKS)]
            for bundle in args.bundles:
                runs = _Runs(bundle, limits, photos, scratch)
                each = [runs.train(engine, strategy) for engine in engines for strategy in args.strategy or STRATEGIES]
                for found in itertools.chain(*each, runs.predict(), runs.many_classes(args.strategy or STRATEGIES)):
                    args.progress.note(found.line())
                    attempts.append(found)
        document: Document = {
            "attempts": [asdict(each) for each in attempts],
            "wrong": sum(not each.as_planned for each in attempts),
            "killed": sum(each.kills or each.exit_code < 0 for each in attempts),
            "reserve_bytes": MEMORY_RESERVE_BYTES,
            "machine": asdict(describe_machine()),
            "command": "make test-limits",
        }
        if args.out:
            args.out.write_text(_compact(document), encoding="utf-8")
        return document

    def render(self, document: Document) -> str:
        rows = [_row(Attempt(**each)) for each in document["attempts"]]
        header = ["bundle", "run", "engine", "limit", "plan", "outcome", "group's peak", "RSS peak", "seconds"]
        verdict = (
            f"{len(rows)} runs, {document['killed']} killed, {document['wrong']} not as planned; the plan keeps "
            f"{format_bytes(document['reserve_bytes'])} of every limit free"
        )
        return f"{table(rows, header)}\n\n{verdict}"

    def exit_code(self, document: Document) -> ExitCode:
        return ExitCode.DOES_NOT_FIT if document["wrong"] or document["killed"] else ExitCode.DONE


def _compact(document: Document) -> str:
    """The document as JSON, a line an attempt, whose values are in the order of ``columns``."""
    columns = ["bundle", "run", "engine", "limit_bytes", "plan_bytes", "outcome", "group_peak_bytes", "peak_rss_bytes"]
    rows = ([each[name] for name in columns] for each in document["attempts"])
    lines = ",\n".join(json.dumps(row, separators=(",", ":")) for row in rows)
    rest = json.dumps({name: value for name, value in document.items() if name != "attempts"})
    return f'{{"columns": {json.dumps(columns)}, "attempts": [\n{lines}\n],\n{rest[1:]}\n'


def _refuse_without_groups() -> None:
    """Without groups nothing can be tried; say so before an hour of work."""
    try:
        MemoryGroup(2**30).close()
    except NoGroupError as error:
        raise UsageError(f"limits can't be tried here: {error}") from error


class _Runs:
    def __init__(self, bundle: Path, limits: Sequence[int], photos: Sequence[Path], scratch: Path) -> None:
        self._bundle, self._limits, self._photos, self._scratch = bundle, limits, photos, scratch
        self._learned: Path | None = None

    def train(self, engine: str, strategy: str) -> Iterator[Attempt]:
        return self._limited(partial(self._tasks, engine, strategy))

    def _limited(self, run: Callable[[int], Iterable[Attempt]]) -> Iterator[Attempt]:
        """A run under each limit, then under the tightest that the plan allows."""
        plans: list[int] = []
        for limit in self._limits:
            for found in run(limit):
                plans += [found.plan_bytes] if found.plan_bytes else []
                yield found
        if plans:
            yield from run(max(plans) + MEMORY_RESERVE_BYTES + _JITTER_BYTES)

    def _tasks(self, engine: str, strategy: str, limit: int) -> Iterator[Attempt]:
        state = self._scratch / f"{self._bundle.name}-{engine}-{strategy}-{limit}"
        for number, data in enumerate(self._photos, 1):
            words = ["train", "--bundle", str(self._bundle), "--state", str(state), "--data", str(data)]
            words += ["--engine", engine, "--strategy", strategy, "--epochs", "1"]
            found = run_limited(words, limit, self._bundle.name, f"{strategy}, task {number}", engine)
            yield found
            if found.exit_code:
                return
        self._learned = state

    def many_classes(self, strategies: Sequence[str]) -> Iterator[Attempt]:
        """One task that fills the classifier."""
        count = min(_MOST_CLASSES, Bundle.open(self._bundle).manifest.head.capacity)
        data = self._scratch / f"{count}-classes"
        if not data.exists():
            make_photos(data, [f"class {number:03}" for number in range(count)], _PHOTOS, 9, _SMALL_PICTURE)
        for strategy in strategies:
            yield from self._limited(partial(self._one_task, data, count, strategy))

    def _one_task(self, data: Path, count: int, strategy: str, limit: int) -> Iterator[Attempt]:
        state = self._scratch / f"{self._bundle.name}-{count}-{strategy}-{limit}"
        words = ["train", "--bundle", str(self._bundle), "--state", str(state), "--data", str(data)]
        words += ["--engine", "ort", "--strategy", strategy, "--epochs", "1", "--max-forgetting", "1"]
        yield run_limited(words, limit, self._bundle.name, f"{strategy}, {count} classes", "ort")

    def predict(self) -> Iterator[Attempt]:
        if self._learned is None:
            raise UsageError(
                f"{self._bundle} can't be trained under any limit, so nothing can predict; give a larger one"
            )
        images = [str(path) for path in sorted(self._photos[0].rglob("*.jpg"))[:_PREDICTED]]
        words = ["predict", "--state", str(self._learned), *images]
        yield from self._limited(lambda limit: [run_limited(words, limit, self._bundle.name, "predict", "ort")])


def _row(found: Attempt) -> list[str]:
    peaks = [found.group_peak_bytes, found.peak_rss_bytes]
    return [
        *(found.bundle, found.run, found.engine, format_bytes(found.limit_bytes)),
        format_bytes(found.plan_bytes) if found.plan_bytes else "",
        found.outcome + ("" if found.as_planned else " (not as planned)"),
        *("" if each is None else format_bytes(each) for each in peaks),
        f"{found.seconds:.1f}",
    ]


if __name__ == "__main__":
    sys.exit(run_command(LimitsCommand()))
