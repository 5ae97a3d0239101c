"""``lightcl-edge predict``."""

from __future__ import annotations

import argparse
from pathlib import Path

from lightcl_edge.commands.arguments import add_provider, add_state, add_threads, positive
from lightcl_edge.console import Command, Document


class PredictCommand(Command):
    """Name the most probable classes of images.

    Needs onnxruntime only. It may run beside a training: it sees the last committed generation.
    """

    name = "predict"
    example = "lightcl-edge predict --state state photo.jpg --top-k 3"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare the command's own arguments."""
        add_state(parser)
        parser.add_argument("images", nargs="+", type=Path, metavar="IMAGE", help="image files")
        parser.add_argument("--top-k", type=positive, default=5, help="how many classes to name (default: 5)")
        add_provider(parser)
        add_threads(parser)

    def run(self, args: argparse.Namespace) -> Document:
        """Predict all images."""
        from dataclasses import asdict

        from lightcl_edge.decoding import load_image
        from lightcl_edge.memory import peak_rss_bytes
        from lightcl_edge.predictor import Predictor

        predictor = Predictor(args.state, args.threads, args.provider)
        images = (load_image(path, predictor.input) for path in args.images)
        tops = predictor.top(images, args.top_k)
        named = zip(args.images, tops, strict=True)
        return {
            "predictions": [{"image": str(path), "top": top} for path, top in named],
            "plan": {"peak_bytes": predictor.plan_bytes},
            "allowed_bytes": predictor.allowed_bytes,
            "peak_rss_bytes": peak_rss_bytes(),
            "trunk_provider": asdict(predictor.provider),
        }

    def render(self, document: Document) -> str:
        """One line an image."""
        lines = []
        for prediction in document["predictions"]:
            named = ", ".join(f"{entry['class']} {entry['probability']:.1%}" for entry in prediction["top"])
            lines.append(f"{prediction['image']}: {named}")
        return "\n".join(lines)
