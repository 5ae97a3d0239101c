"""``lightcl-edge predict``."""

import argparse
import sys
from pathlib import Path

from lightcl_edge.commands.arguments import (
    add_computing,
    add_false_alarms,
    add_memory_budget,
    add_state,
    positive,
    share,
)
from lightcl_edge.console.program import Command
from lightcl_edge.console.text import Document, printable
from lightcl_edge.errors import ExitCode

#: Less likely classes are in ``--json`` alone.
_SHOWN = 0.01


class PredictCommand(Command):
    """Name the most probable classes of images, or say that an image was never seen.

    An image is "never seen" when it is stranger than nearly all images of the known classes, and "unsure" when no class
    is probable enough. How strange is decided on images that were held out when the classes were taught.

    A folder stands for the images in it. If it has none, it stands for those in its sub-folders (one level, such as
    one folder a class). If an image can't be read, stderr says so, the others are predicted and the exit code is 4.

    Needs onnxruntime only. It may run beside a training: it sees the last committed generation.
    """

    name = "predict"
    example = "lightcl-edge predict --state state photo.jpg --top-k 3"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        add_state(parser)
        parser.add_argument("images", nargs="+", type=Path, metavar="IMAGE", help="image files, or folders of them")
        parser.add_argument("--top-k", type=positive, default=5, help="how many classes to name (default: 5)")
        add_false_alarms(parser)
        parser.add_argument(
            "--unsure-below",
            type=share,
            default=0.5,
            metavar="PROBABILITY",
            help="call a prediction unsure if its probability is below this, 0 to 1 (default: 0.5)",
        )
        add_memory_budget(parser)
        add_computing(parser)

    def run(self, args: argparse.Namespace) -> Document:
        from dataclasses import asdict

        from lightcl_edge.data.named_images import NamedImages
        from lightcl_edge.inference.prediction import Limits
        from lightcl_edge.inference.predictor import Predictor
        from lightcl_edge.machine.process_memory import peak_rss_bytes

        predictor = Predictor(args.state, args.threads, args.provider, args.memory_budget_bytes)
        named = NamedImages(args.images)
        if note := named.note():
            args.progress.note(note)
        limit, grey_range = predictor.decoding_limit_bytes, predictor.grey_range
        images = named.images(predictor.input, limit, grey_range, args.progress)
        limits = Limits(args.false_alarms, args.unsure_below)
        found = [prediction.document(args.top_k) for prediction in predictor.predict(images, limits)]
        named.refuse_none()
        for _, error in named.faults:  # --quiet hides notes, never errors
            print(f"error: {printable(str(error))}", file=sys.stderr)
        return {
            "predictions": [{"image": str(path), **each} for path, each in zip(named.read, found, strict=True)],
            "unknown_above": predictor.classifier.threshold(args.false_alarms),
            "unsure_below": args.unsure_below,
            "unreadable": named.unreadable(),
            "plan": {"peak_bytes": predictor.plan_bytes},
            "allowed_bytes": predictor.allowed_bytes,
            "peak_rss_bytes": peak_rss_bytes(),
            "trunk_provider": asdict(predictor.provider),
        }

    def render(self, document: Document) -> str:
        return "\n".join(f"{each['image']}: {_words(each)}" for each in document["predictions"])

    def exit_code(self, document: Document) -> ExitCode:
        """4 when an image could not be read."""
        return ExitCode.BAD_DATA if document["unreadable"] else ExitCode.DONE


def _words(prediction: Document) -> str:
    """``cat 92.0%, dog 5.1%``, or that the image was never seen, or which classes it may be."""
    top = [each for each in prediction["top"] if each is prediction["top"][0] or each["probability"] >= _SHOWN]
    named = ", ".join(f"{entry['class']} {entry['probability']:.1%}" for entry in top)
    if prediction["unknown"]:
        return f"never seen; most like {named}"
    if prediction["unsure"] and len(top) > 1:
        return f"unsure between {top[0]['class']} and {top[1]['class']}: {named}"
    return f"unsure: {named}" if prediction["unsure"] else named
