"""``lightcl-edge train``."""

import argparse
from pathlib import Path
from textwrap import wrap

from lightcl_edge.commands.arguments import (
    add_bundle,
    add_computing,
    add_cooling,
    add_data,
    add_memory_budget,
    add_state,
    add_verbose,
    cooling_limit,
    not_negative,
)
from lightcl_edge.commands.completers import generations
from lightcl_edge.console.completion import add_completer
from lightcl_edge.console.program import Command
from lightcl_edge.console.progress import Progress
from lightcl_edge.console.text import Document, count, first_names, format_bytes, shortened, table

#: Lines of the result, warnings in it, and characters of a line.
_LINES, _WARNINGS, _WIDTH = 12, 2, 80


class TrainCommand(Command):
    """Learn one task: new images of known or new classes.

    Runs the trunk once an image, keeps its outputs on disk, trains the head on them, and commits the result as a
    new generation. If it is interrupted, the same command goes on where it stopped.

    --data names a folder with one sub-folder of images a class, or an .npz file with arrays x (uint8 images) and
    y (classes), or a named source: digits, digits:test, cifar10:FOLDER, cifar10:test:FOLDER, tinyimagenet:FOLDER. A
    selection may follow: @2/5 is the second of five tasks (the classes in order, cut into five), @1-3/5 the first
    three. Hidden files and what systems leave in folders (__MACOSX, @eaDir, ...) are ignored. A folder divided into
    train and val or test is recognised: train takes train, evaluate takes test, or val without one.
    """

    name = "train"
    example = "lightcl-edge train --bundle bundle --state state --data photos/"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        add_bundle(parser)
        add_state(parser)
        add_data(parser)
        parser.add_argument(
            "--strategy",
            choices=("auto", "replay", "slda", "ncm", "lightcl", "finetune"),
            help="how to learn (default: the bundle's, which is auto: slda where it can)",
        )
        parser.add_argument("--engine", choices=("auto", "ort", "torch"), default="auto", help="default: auto")
        parser.add_argument("--epochs", type=int, help="passes over the features (default: the bundle's)")
        parser.add_argument("--batch-size", type=int, help="samples a step (default: the bundle's)")
        parser.add_argument("--learning-rate", type=float, help="of plain SGD (default: the bundle's)")
        parser.add_argument("--beta", type=float, help="weight of the pattern term (default: the bundle's)")
        parser.add_argument("--ratio", type=float, help="share of channels held a task (default: the bundle's)")
        parser.add_argument("--pattern-samples", type=int, help="samples that carry patterns (default: the bundle's)")
        parser.add_argument(
            "--buffer-size",
            metavar="N",
            help="size of the feature buffer: samples (500) or bytes (2MB) (default: 2000000B)",
        )
        parser.add_argument(
            "--buffer-fill",
            choices=("reservoir", "herding"),
            default="reservoir",
            help="which samples stay in it: random ones, or those nearest to their class mean (default: reservoir)",
        )
        add_memory_budget(parser)
        parser.add_argument(
            "--max-forgetting",
            type=float,
            default=0.2,
            help="reject a head that loses more held-out accuracy on earlier classes, 0 to 1 (default: 0.2; 1: never)",
        )
        parser.add_argument("--seed", type=int, default=0, help="the same seed gives the same weights (default: 0)")
        expected = parser.add_argument(
            "--from-generation",
            type=not_negative,
            metavar="N",
            help="learn only if the state is at generation N (0: nothing learned yet), else exit 6",
        )
        add_completer(expected, generations)
        parser.add_argument(
            "--key", type=Path, metavar="PUB", help="accept only bundles signed by this key, now and from now on"
        )
        add_cooling(parser)
        add_computing(parser)
        parser.add_argument("--dry-run", action="store_true", help="say what the task would need, and learn nothing")
        parser.add_argument(
            "--progress-json", action="store_true", help="progress as JSON lines on stderr, for a program that shows it"
        )
        add_verbose(parser, "why it was done so, and each phase")

    def run(self, args: argparse.Namespace) -> Document:
        from dataclasses import fields

        from lightcl_edge.learning.options import TrainOptions
        from lightcl_edge.learning.train import foresee, train
        from lightcl_edge.machine.process_memory import PhaseMeter

        named = {field.name: getattr(args, field.name) for field in fields(TrainOptions) if hasattr(args, field.name)}
        options = TrainOptions(**named, cool_at_celsius=cooling_limit(args))
        progress = Progress(for_program=True) if args.progress_json else args.progress
        if args.dry_run:
            return foresee(options, progress)
        return train(options, PhaseMeter(progress.phase), progress)

    def render(self, document: Document) -> str:
        """What was learned, how each class fared and what to look at, in at most 12 lines."""
        if "generation" not in document:
            return _foreseen(document)
        after = [*_warning_lines(document), *_skipped_lines(document), *_health_lines(document["health"])]
        after.append(
            f"took {document['seconds']:.1f} s and {format_bytes(document['peak_rss_bytes'])} of memory, wrote "
            f"{format_bytes(document['bytes_written'])}; {document['strategy']} on {document['engine']}"
        )
        before = _headlines(document)
        lines = [*before, *_class_lines(document["per_class"], _LINES - len(before) - len(after)), *after]
        return "\n".join(lines)

    def render_details(self, document: Document) -> str:
        if "generation" not in document:
            return "\n".join(f"{what}: {document[f'{what}_reason']}" for what in ("strategy", "engine"))
        trunk = document["trunk_provider"]
        images = f"on {trunk['name']}: {trunk['reason']}" if trunk else "features read from the interrupted run"
        lines = [
            "why",
            f"  strategy {document['strategy']}: {document['strategy_reason']}",
            f"  engine {document['engine']}: {document['engine_reason']}",
            f"  images {images}",
            f"  steps on {document['engine_device']}: {document['engine_device_reason']}",
        ]
        buffer = document["buffer"]
        lines.append(f"  feature buffer: {count(buffer['samples'], 'sample')}, {format_bytes(buffer['bytes'])}")
        if document["ignored"]:
            lines.append(f"  not used by {document['strategy']}: {', '.join(document['ignored'])}")
        lines += [f"last loss {document['loss']:.3g}", "phases"]
        lines += [
            f"  {phase['name']:<8} {phase['seconds']:6.1f} s  peak {format_bytes(phase['peak_rss_bytes'])}"
            for phase in document["phases"]
        ]
        return "\n".join(lines + document["skipped"])


def _headlines(document: Document) -> list[str]:
    """What was learned, and how many of the images kept apart are right."""
    names, new, images = document["classes"], document["new_classes"], count(document["images"], "image")
    what = first_names(new, 32) if new else "more of known classes"
    lines = [f"generation {document['generation']}: learned {what} from {images}"]
    accuracy = document["holdout_accuracy"]
    if accuracy is None:
        lines.append(f"it knows {count(len(names), 'class')}; too few images to keep some apart for testing")
    else:
        right = f"{document['holdout_right']} of {count(document['holdout_images'], 'held-out image')} right"
        lines.append(f"it knows {count(len(names), 'class')}; {right} (mean over classes {accuracy:.1%})")
    if document["resumed"]:
        lines[-1] += ", going on from a checkpoint"
    return lines


def _class_lines(per_class: Document, room: int) -> list[str]:
    """The table of classes before and after, those that changed most first, in so many lines."""
    if not per_class or room < 3:
        return []

    def right(entry: Document, when: str) -> str:
        share = entry[when]
        return "new" if share is None else f"{round(share * entry['images'])} of {entry['images']}"

    def loss(entry: Document) -> float:
        return 0.0 if entry["before"] is None else float(entry["before"] - entry["after"])

    new = [name for name in per_class if per_class[name]["before"] is None]
    known = sorted(set(per_class) - set(new), key=lambda name: (-abs(loss(per_class[name])), name))
    fell = [name for name in known if loss(per_class[name]) > 0]
    order = [*fell, *new, *(name for name in known if name not in fell)]
    fitting = len(order) if len(order) < room else room - 2
    rows = [[shortened(name, 40), *(right(per_class[name], when) for when in ("before", "after"))] for name in order]
    names = ["images right", "before", "after"]
    if any(entry["learned_images"] for entry in per_class.values()):  # few are held out
        rows = [[*row, str(per_class[name]["learned_images"])] for row, name in zip(rows, order, strict=True)]
        names.append("of these learned")
    header, _, *lines = table(rows[:fitting], names).splitlines()
    hidden = len(order) - fitting
    return [header, *lines, f"and {count(hidden, 'class')} more, in --json"] if hidden else [header, *lines]


def _warning_lines(document: Document) -> list[str]:
    warnings = document["warnings"]
    shown = warnings if len(warnings) <= _WARNINGS else warnings[: _WARNINGS - 1]
    lines = [line for each in shown for line in wrap(f"look: {each}", _WIDTH, subsequent_indent="      ", max_lines=2)]
    return lines if shown is warnings else [*lines, f"look: {len(warnings) - len(shown)} more such, in --json"]


def _skipped_lines(document: Document) -> list[str]:
    if not document["skipped_images"]:
        return []
    return [f"{count(document['skipped_images'], 'image')} could not be read: {shortened(document['skipped'][0], 48)}"]


def _foreseen(document: Document) -> str:
    plan = document["plan"]
    return (
        f"{count(document['images'], 'image')} of {count(len(document['classes']), 'class')} would be learned by "
        f"{document['strategy']} on {document['engine']}\n"
        f"  memory: {format_bytes(plan['peak_bytes'])} of {format_bytes(document['allowed_bytes'])} allowed; "
        f"disk: {format_bytes(plan['disk_bytes'])}"
    )


def _health_lines(health: Document) -> list[str]:
    """Pauses, and that the board was slowed down."""
    lines = []
    if health["pauses"]:
        lines.append(f"paused {count(health['pauses'], 'time')} to cool down, {health['paused_seconds']:.0f} s in all")
    if health["slowed_down"]:
        hint = "" if health["cool_at_celsius"] is not None else "; --cool pauses when it is hot"
        words = health["after"]["throttled"] or "processors counted it"
        lines.append(f"the board was slowed down while it learned ({words}){hint}")
    return lines
