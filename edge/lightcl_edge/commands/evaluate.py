"""``lightcl-edge evaluate``."""

from __future__ import annotations

import argparse
from collections import Counter
from typing import TYPE_CHECKING

from lightcl_edge.commands.arguments import add_computing, add_data, add_memory_budget, add_state
from lightcl_edge.console.program import Command
from lightcl_edge.console.text import Document, count, table
from lightcl_edge.errors import DataError

if TYPE_CHECKING:
    from lightcl_edge.data.dataset import Dataset


class EvaluateCommand(Command):
    """Count how many labelled images are recognised, class by class.

    Every image competes among all classes learned so far (class-incremental accuracy).
    """

    name = "evaluate"
    example = "lightcl-edge evaluate --state state --data test-photos/"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        add_state(parser)
        add_data(parser)
        parser.add_argument(
            "--skip-unknown",
            action="store_true",
            help="leave classes out that were never learned (default: refuse the data)",
        )
        add_memory_budget(parser)
        add_computing(parser)

    def run(self, args: argparse.Namespace) -> Document:
        from lightcl_edge.data.specification import open_dataset
        from lightcl_edge.inference.predictor import Predictor

        predictor = Predictor(args.state, args.threads, args.provider, args.memory_budget_bytes)
        dataset, unknown = open_dataset(args.data, use="evaluate"), list[str]()
        notes = dataset.all_notes()
        if args.skip_unknown:
            dataset, unknown = _known_only(dataset, predictor.classes)
            notes += [f"left out, never learned: {', '.join(unknown)}"] if unknown else []
        for note in notes:
            args.progress.note(note)
        dataset.memory_limit_bytes = predictor.decoding_limit_bytes
        return {**predictor.evaluate(dataset, args.progress).document(), "unknown_classes": unknown}

    def render(self, document: Document) -> str:
        rows = []
        for name, entry in document["per_class"].items():
            mistakes = Counter({k: v for k, v in document["confusion"][name].items() if k != name})
            worst = "".join(f"{other} ({times})" for other, times in mistakes.most_common(1))
            rows.append([name, f"{entry['accuracy']:.1%}", str(entry["images"]), worst])
        text = table(rows, ["class", "accuracy", "images", "most often taken for"])
        skipped = f", {document['skipped_images']} could not be read" if document["skipped_images"] else ""
        if document["unknown_classes"]:
            skipped += f"; never learned and left out: {', '.join(document['unknown_classes'])}"
        among = f", among {count(len(document['classes']), 'class')}"
        return f"accuracy {document['accuracy']:.1%} of {count(document['images'], 'image')}{among}{skipped}\n\n{text}"


def _known_only(dataset: Dataset, known: list[str]) -> tuple[Dataset, list[str]]:
    """The images of classes that were learned, and the names of the other classes."""
    unknown = sorted(set(dataset.classes) - set(known))
    kept = [name for name in dataset.classes if name in known]
    if not kept:
        raise DataError(f"none of the data's classes {unknown} was learned; known are {known}")
    if not unknown:
        return dataset, []
    rows = {dataset.classes.index(name) for name in kept}
    return dataset.subset([at for at, row in enumerate(dataset.labels) if row in rows], kept), unknown
