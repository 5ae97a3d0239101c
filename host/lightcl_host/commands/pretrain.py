"""``lightcl-host pretrain``."""

import argparse
from pathlib import Path
from typing import ClassVar

from lightcl_edge.console.program import Command
from lightcl_edge.console.text import Document, table
from lightcl_edge.errors import UsageError
from lightcl_host.commands.arguments import (
    add_model_arguments,
    check_counts,
    check_learning_rate,
    options_from,
    source_options,
)


class PretrainCommand(Command):
    """Train a network on labelled images and write its weights, for --weights of the other commands.

    This is for data that no published network knows. Training uses SGD with momentum, a cosine schedule, label
    smoothing, shifts and mirror images, on CUDA where torch sees it. The file is written after every epoch, so an
    interrupted run leaves the last one. It starts from random weights unless --weights says otherwise.
    """

    name: ClassVar[str] = "pretrain"
    example: ClassVar[str] = (
        "lightcl-host pretrain --model resnet18_cifar --data digits --test-data digits:test --epochs 2 "
        "--out digits.safetensors"
    )

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        add_model_arguments(parser)
        parser.set_defaults(weights="none")
        parser.add_argument("--data", required=True, metavar="D", help="training images: a data specification")
        parser.add_argument("--test-data", metavar="D", help="images to test on after each epoch")
        parser.add_argument("--epochs", type=int, required=True, metavar="N", help="passes over the data")
        parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="a .safetensors file")
        parser.add_argument("--batch-size", type=int, default=128, metavar="N", help="images a step (default 128)")
        parser.add_argument(
            "--learning-rate", type=float, default=0.1, metavar="F", help="the highest of the schedule (default 0.1)"
        )
        parser.add_argument("--threads", type=int, metavar="N", help="of torch (default: its own choice)")

    def run(self, args: argparse.Namespace) -> Document:
        from lightcl_host.sources.pretrain import PretrainOptions, pretrain

        check_counts(args, ("epochs", "batch_size", "threads"))
        check_learning_rate(args)
        if args.out.suffix != ".safetensors":
            raise UsageError(f"--out {args.out}; expected a path ending in .safetensors")
        return pretrain(options_from(PretrainOptions, args, source=source_options(args)), args.progress)

    def render(self, document: Document) -> str:
        rows = [
            [str(each["epoch"]), f"{each['loss']:.3f}", "" if each["accuracy"] is None else f"{each['accuracy']:.1%}"]
            for each in document["epochs"]
        ]
        about = f"{document['model']}, {len(document['classes'])} classes, {document['images']} images"
        return f"{document['out']}: {about}\n\n{table(rows, ['epoch', 'loss', 'test accuracy'])}"
