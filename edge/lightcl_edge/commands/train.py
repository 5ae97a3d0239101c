"""``lightcl-edge train``."""

from __future__ import annotations

import argparse
from pathlib import Path

from lightcl_edge.commands.arguments import (
    add_cooling,
    add_memory_budget,
    add_provider,
    add_state,
    add_threads,
    cooling_limit,
    not_negative,
)
from lightcl_edge.commands.completers import generations
from lightcl_edge.console.completion import add_completer
from lightcl_edge.console.program import Command
from lightcl_edge.console.text import Document, count, format_bytes


class TrainCommand(Command):
    """Learn one task: new images of known or new classes.

    Runs the trunk once an image, keeps its outputs on disk, trains the head on them, and commits the result as a
    new generation. If it is interrupted, the same command goes on where it stopped.

    --data names a folder with one sub-folder of images a class, or an .npz file with arrays x (uint8 images) and
    y (classes), or a named source: digits, digits:test, cifar10:FOLDER, cifar10:test:FOLDER, tinyimagenet:FOLDER. A
    selection may follow: @2/5 is the second of five tasks (the classes in order, cut into five), @1-3/5 the first
    three.
    """

    name = "train"
    example = "lightcl-edge train --bundle bundle --state state --data photos/"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare the command's own arguments."""
        parser.add_argument("--bundle", type=Path, help="bundle of lightcl-host export; needed the first time only")
        add_state(parser)
        parser.add_argument("--data", required=True, help="folder with one sub-folder a class, .npz, or a named source")
        parser.add_argument(
            "--strategy",
            choices=("auto", "replay", "slda", "ncm", "lightcl", "finetune"),
            help="how to learn; auto picks what fits and says why (default: the bundle's)",
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
            help="long-term memory: samples (500) or bytes (2MB) (default: 2000000B)",
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
        add_provider(parser)
        add_threads(parser)

    def run(self, args: argparse.Namespace) -> Document:
        """Train and commit."""
        from lightcl_edge.data.unused_files import find_unused_files
        from lightcl_edge.learning.options import TrainOptions
        from lightcl_edge.learning.task import train
        from lightcl_edge.machine.memory import PhaseMeter

        options = TrainOptions(
            bundle=args.bundle,
            state=args.state,
            data=args.data,
            strategy=args.strategy,
            engine=args.engine,
            epochs=args.epochs,
            batch_size=args.batch_size,
            learning_rate=args.learning_rate,
            beta=args.beta,
            ratio=args.ratio,
            pattern_samples=args.pattern_samples,
            buffer_size=args.buffer_size,
            buffer_fill=args.buffer_fill,
            seed=args.seed,
            threads=args.threads,
            memory_budget_bytes=args.memory_budget,
            max_forgetting=args.max_forgetting,
            key=args.key,
            from_generation=args.from_generation,
            cool_at_celsius=cooling_limit(args),
            provider=args.provider,
        )
        unused = find_unused_files(args.data)
        if note := unused.note():
            args.progress.note(note)
        return {**train(options, PhaseMeter(), args.progress), "left_out": unused.document()}

    def render(self, document: Document) -> str:
        """What was learned, and what it took."""
        new = ", ".join(document["new_classes"]) or "none"
        held_out, memory = document["holdout_accuracy"], document["buffer"]
        lines = [
            f"generation {document['generation']}: {count(len(document['classes']), 'class')} (new: {new})",
            f"  learned from {count(document['images'], 'image')}"
            + (f", {document['skipped_images']} could not be read" if document["skipped_images"] else "")
            + (", going on from a checkpoint" if document["resumed"] else ""),
            f"  strategy {document['strategy']} ({document['strategy_reason']}), "
            f"engine {document['engine']} ({document['engine_reason']})",
            _computed_by(document),
            f"  memory of {count(memory['samples'], 'sample')}, {format_bytes(memory['bytes'])}",
            f"  {count(document['epochs'], 'epoch')}, last loss {document['loss']:.3g}"
            + ("" if held_out is None else f", held-out accuracy {held_out:.1%}"),
            f"  {document['seconds']:.1f} s, peak memory {format_bytes(document['peak_rss_bytes'])}, "
            f"{format_bytes(document['bytes_written'])} written",
        ]
        lines += [
            f"    {phase['name']:<8} {phase['seconds']:6.1f} s  peak {format_bytes(phase['peak_rss_bytes'])}"
            for phase in document["phases"]
        ]
        if document["ignored"]:
            lines.append(f"  not used by {document['strategy']}: {', '.join(document['ignored'])}")
        lines += _health_lines(document["health"])
        lines += [f"  skipped: {reason}" for reason in document["skipped"][:5]]
        return "\n".join(lines)


def _computed_by(document: Document) -> str:
    """What computed the trunk and the head's steps, and why."""
    trunk = document["trunk_provider"]
    images = "read from the interrupted run" if trunk is None else f"on {trunk['name']} ({trunk['reason']})"
    return f"  images to features {images}, steps on {document['engine_device']} ({document['engine_device_reason']})"


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
