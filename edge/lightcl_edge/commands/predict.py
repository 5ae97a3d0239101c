"""``lightcl-edge predict``."""

import argparse
import sys
from pathlib import Path

from lightcl_edge.commands.arguments import add_computing, add_memory_budget, add_state, positive
from lightcl_edge.console.program import Command
from lightcl_edge.console.text import Document, printable
from lightcl_edge.errors import ExitCode


class PredictCommand(Command):
    """Name the most probable classes of images.

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
        add_memory_budget(parser)
        add_computing(parser)

    def run(self, args: argparse.Namespace) -> Document:
        from dataclasses import asdict

        from lightcl_edge.data.named_images import NamedImages
        from lightcl_edge.inference.predictor import Predictor
        from lightcl_edge.machine.process_memory import peak_rss_bytes

        predictor = Predictor(args.state, args.threads, args.provider, args.memory_budget_bytes)
        named = NamedImages(args.images)
        if note := named.note():
            args.progress.note(note)
        limit, grey_range = predictor.decoding_limit_bytes, predictor.grey_range
        tops = predictor.top(named.images(predictor.input, limit, grey_range, args.progress), args.top_k)
        named.refuse_none()
        for _, error in named.faults:  # --quiet hides notes, never errors
            print(f"error: {printable(str(error))}", file=sys.stderr)
        return {
            "predictions": [{"image": str(path), "top": top} for path, top in zip(named.read, tops, strict=True)],
            "unreadable": named.unreadable(),
            "plan": {"peak_bytes": predictor.plan_bytes},
            "allowed_bytes": predictor.allowed_bytes,
            "peak_rss_bytes": peak_rss_bytes(),
            "trunk_provider": asdict(predictor.provider),
        }

    def render(self, document: Document) -> str:
        lines = []
        for prediction in document["predictions"]:
            named = ", ".join(f"{entry['class']} {entry['probability']:.1%}" for entry in prediction["top"])
            lines.append(f"{prediction['image']}: {named}")
        return "\n".join(lines)

    def exit_code(self, document: Document) -> ExitCode:
        """4 when an image could not be read."""
        return ExitCode.BAD_DATA if document["unreadable"] else ExitCode.DONE
