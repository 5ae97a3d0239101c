"""``lightcl-edge evaluate``."""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from lightcl_edge.commands.arguments import add_computing, add_data, add_false_alarms, add_memory_budget, add_state
from lightcl_edge.console.program import Command
from lightcl_edge.console.text import Document, count, table
from lightcl_edge.errors import DataError

if TYPE_CHECKING:
    from lightcl_edge.data.dataset import Dataset
    from lightcl_edge.data.named_images import NamedImages
    from lightcl_edge.inference.evaluation import Evaluation
    from lightcl_edge.inference.predictor import Predictor


class EvaluateCommand(Command):
    """Count how many labelled images are recognised, class by class.

    Every image competes among all classes learned so far (class-incremental accuracy). The first figure is the mean
    over classes, so that a class with many images counts no more than one with few.
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
        parser.add_argument(
            "--unknown",
            type=Path,
            metavar="FOLDER",
            help="images of classes that were never learned, to see how many are noticed",
        )
        parser.add_argument(
            "--html",
            type=Path,
            metavar="FILE",
            help="also write a page: confusion, mistakes as thumbnails, calibration, generations",
        )
        add_false_alarms(parser)
        add_memory_budget(parser)
        add_computing(parser)

    def run(self, args: argparse.Namespace) -> Document:
        from lightcl_edge.data.named_images import NamedImages
        from lightcl_edge.data.specification import open_dataset
        from lightcl_edge.inference.evaluation import evaluate
        from lightcl_edge.inference.prediction import Limits
        from lightcl_edge.inference.predictor import Predictor

        predictor = Predictor(args.state, args.threads, args.provider, args.memory_budget_bytes)
        dataset, left_out = open_dataset(args.data, use="evaluate"), list[str]()
        notes = dataset.all_notes()
        if args.skip_unknown:
            dataset, left_out = _known_only(dataset, predictor.classes)
            notes += [f"left out, never learned: {', '.join(left_out)}"] if left_out else []
        others = NamedImages([args.unknown] if args.unknown else [])
        _refuse_known(others, predictor.classes)
        for note in filter(None, [*notes, others.note()]):
            args.progress.note(note)
        dataset.memory_limit_bytes = predictor.decoding_limit_bytes
        limit, grey_range = predictor.decoding_limit_bytes, predictor.grey_range
        unknown = others.images(predictor.input, limit, grey_range, args.progress)
        found = evaluate(predictor, dataset, args.progress, Limits(args.false_alarms), unknown)
        if args.unknown:
            others.refuse_none()
        if args.html:
            _write_page(args, predictor, dataset, found)
        return {
            **found.document(),
            "page": None if args.html is None else str(args.html),
            "unknown_above": predictor.classifier.threshold(args.false_alarms),
            "unknown_classes": left_out,
            "unreadable_unknown": others.unreadable(),
        }

    def render(self, document: Document) -> str:
        rows = []
        for name, entry in document["per_class"].items():
            mistakes = Counter({k: v for k, v in document["confusion"][name].items() if k != name})
            worst = "".join(f"{other} ({times})" for other, times in mistakes.most_common(1))
            rows.append([name, f"{entry['accuracy']:.1%}", str(entry["images"]), worst])
        text = table(rows, ["class", "accuracy", "images", "most often taken for"])
        page = ["", f"page: {document['page']}"] if document["page"] else []
        return "\n".join([*_headlines(document), "", text, *page])


def _write_page(args: argparse.Namespace, predictor: Predictor, dataset: Dataset, found: Evaluation) -> None:
    from lightcl_edge.files.durable import write_durably
    from lightcl_edge.inference.evaluation_page import describe, render_page
    from lightcl_edge.state.overview import history_of
    from lightcl_edge.state.state import State

    history = [
        (each.generation, each.holdout_accuracy)
        for each in history_of(State(args.state)).generations
        if each.holdout_accuracy is not None and each.generation <= predictor.generation
    ]
    page = render_page(describe(found, dataset, predictor.input, predictor.generation, history))
    write_durably(args.html, page.encode())


def _headlines(document: Document) -> list[str]:
    """The result, and what is behind it."""
    skipped = f", {document['skipped_images']} could not be read" if document["skipped_images"] else ""
    if document["unknown_classes"]:
        skipped += f"; never learned and left out: {', '.join(document['unknown_classes'])}"
    among = f"among {count(len(document['classes']), 'class')}"
    lines = [
        f"accuracy {document['balanced_accuracy']:.1%}, mean over classes; {document['accuracy']:.1%} of "
        f"{count(document['images'], 'image')}, {among}{skipped}",
        f"probabilities are {document['expected_calibration_error']:.1%} off (expected calibration error)",
    ]
    if document["unknown_above"] is None:
        lines.append("nothing can be called never seen yet: too few images are held out")
    elif document["false_alarm_rate"] is not None:
        lines.append(f"called never seen by mistake: {document['false_alarm_rate']:.1%}")
    if document["unknown_auroc"] is not None:
        lines.append(
            f"never seen: {document['unknown_found']:.1%} of {count(document['unknown_images'], 'image')} noticed, "
            f"AUROC {document['unknown_auroc']:.1%}"
        )
    return lines


def _refuse_known(images: NamedImages, known: list[str]) -> None:
    """Refuse images in a folder that is named after a known class: they would count as never learned."""
    from lightcl_edge.data.class_names import canonical

    learned = sorted({canonical(path.parent.name) for path in images.paths} & set(known))
    if learned:
        raise DataError(
            f"--unknown holds images of {', '.join(learned)}, which was learned; expected classes never learned"
        )


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
