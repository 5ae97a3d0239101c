"""``lightcl-edge evaluate``."""

from __future__ import annotations

import argparse

from lightcl_edge.commands.arguments import add_provider, add_state, add_threads
from lightcl_edge.console import Command, Document, count, table


class EvaluateCommand(Command):
    """Count how many labelled images are recognised, class by class.

    Every image competes among all classes learned so far (class-incremental accuracy).
    """

    name = "evaluate"
    example = "lightcl-edge evaluate --state state --data test-photos/"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare the command's own arguments."""
        add_state(parser)
        parser.add_argument("--data", required=True, help="folder with one sub-folder a class, .npz, or a named source")
        add_provider(parser)
        add_threads(parser)

    def run(self, args: argparse.Namespace) -> Document:
        """Predict and count."""
        from lightcl_edge.data_spec import open_dataset
        from lightcl_edge.predictor import Predictor

        predictor = Predictor(args.state, args.threads, args.provider)
        return predictor.evaluate(open_dataset(args.data), args.progress).document()

    def render(self, document: Document) -> str:
        """The accuracy and the table of classes."""
        rows = []
        for name, entry in document["per_class"].items():
            others = {k: v for k, v in document["confusion"][name].items() if k != name}
            worst = max(others, key=lambda key: others[key]) if others else ""
            mistaken = f"{worst} ({others[worst]})" if worst else ""
            rows.append([name, f"{entry['accuracy']:.1%}", str(entry["images"]), mistaken])
        text = table(rows, ["class", "accuracy", "images", "most often taken for"])
        skipped = f", {document['skipped_images']} could not be read" if document["skipped_images"] else ""
        among = f", among {count(len(document['classes']), 'class')}"
        return f"accuracy {document['accuracy']:.1%} of {count(document['images'], 'image')}{among}{skipped}\n\n{text}"
