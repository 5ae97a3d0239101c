"""``lightcl-edge train``."""

import argparse
from pathlib import Path

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
from lightcl_edge.console.text import Document, count, first_names, format_bytes, shortened


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
        """What was learned and what it took, in at most 12 lines."""
        if "generation" not in document:
            return _foreseen(document)
        new, accuracy, buffer = document["new_classes"], document["holdout_accuracy"], document["buffer"]
        trunk = document["trunk_provider"]
        lines = [
            f"generation {document['generation']}: {count(len(document['classes']), 'class')}"
            + ("" if accuracy is None else f", held-out accuracy {accuracy:.1%} (mean over classes)"),
            f"  new: {first_names(new)}",
            f"  learned from {count(document['images'], 'image')}"
            + (f" in {count(document['epochs'], 'epoch')}" if document["epochs"] else "")
            + f", {document['seconds']:.1f} s"
            + (", going on from a checkpoint" if document["resumed"] else ""),
            f"  strategy {document['strategy']}, engine {document['engine']}; "
            + (f"images on {trunk['name']}, " if trunk else "")
            + f"steps on {document['engine_device']}",
            f"  peak memory {format_bytes(document['peak_rss_bytes'])}; "
            f"{format_bytes(document['bytes_written'])} written to disk",
            f"  feature buffer: {count(buffer['samples'], 'sample')}, {format_bytes(buffer['bytes'])}",
            *_health_lines(document["health"]),
        ]
        if document["skipped_images"]:
            lines.append(f"  {count(document['skipped_images'], 'image')} could not be read:")
            lines += [f"    {shortened(reason, 76)}" for reason in document["skipped"][:3]]
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
        if document["ignored"]:
            lines.append(f"  not used by {document['strategy']}: {', '.join(document['ignored'])}")
        lines += [f"last loss {document['loss']:.3g}", "phases"]
        lines += [
            f"  {phase['name']:<8} {phase['seconds']:6.1f} s  peak {format_bytes(phase['peak_rss_bytes'])}"
            for phase in document["phases"]
        ]
        return "\n".join(lines + document["skipped"])


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
        lines.append(
            f"  paused {count(health['pauses'], 'time')} to cool down, {health['paused_seconds']:.0f} s in all"
        )
    if health["slowed_down"]:
        hint = "" if health["cool_at_celsius"] is not None else "; --cool pauses when it is hot"
        words = health["after"]["throttled"] or "processors counted it"
        lines.append(f"  the board was slowed down while it learned ({words}){hint}")
    return lines
