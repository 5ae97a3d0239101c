"""An evaluation as a page, or as a part of another page: ``templates/evaluation_part.html``.

jinja2 is imported only when something is rendered.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lightcl_edge.bundle.manifest import InputInfo
from lightcl_edge.data.dataset import Dataset
from lightcl_edge.data.decoding import ByteImage
from lightcl_edge.inference.evaluation import Answers, Evaluation

TEMPLATES = Path(__file__).with_name("templates")
#: Mistakes shown, the surest first, and the longer side of each in pixels.
_MISTAKES, _SIDE = 48, 96
#: Classes in the picture of the confusion; of more those with most mistakes are shown.
_CLASSES = 30
_BINS = 10


@dataclass(frozen=True)
class Mistake:
    """An image that was taken for another class; ``picture`` is the address of a thumbnail."""

    true: str
    said: str
    confidence: float
    picture: str


@dataclass(frozen=True)
class Bin:
    """Answers of about the same probability: how many, its mean, and the share of them that is right."""

    images: int
    confidence: float
    right: float


@dataclass(frozen=True)
class EvaluationView:
    """What the part shows.

    Attributes:
        generation: that was judged.
        shown: rows of the classes in the picture of the confusion.
        mistakes: the surest ones.
        mistakes_in_all: how many there are.
        mistakes_note: which images they are of, when not those that were counted.
        bins: by probability, those with images.
        history: number and held-out accuracy of each generation that has one, oldest first.
    """

    evaluation: Evaluation
    generation: int
    shown: list[int]
    mistakes: list[Mistake]
    mistakes_in_all: int
    bins: list[Bin]
    history: list[tuple[int, float]]
    mistakes_note: str = ""


def describe(
    found: Evaluation, dataset: Dataset, info: InputInfo, generation: int, history: Sequence[tuple[int, float]]
) -> EvaluationView:
    """What to show of an evaluation; the images of the mistakes are read again."""
    answers, names = found.answers, found.classes
    wrong = np.flatnonzero(~answers.right)
    surest = wrong[np.argsort(-answers.confidences[wrong], kind="stable")][:_MISTAKES]
    mistakes = [
        Mistake(
            names[answers.labels[at]],
            names[answers.rows[at]],
            float(answers.confidences[at]),
            thumbnail(dataset.load(int(answers.indices[at]), info)),
        )
        for at in surest.tolist()
    ]
    return EvaluationView(found, generation, shown(found), mistakes, len(wrong), bins(answers), list(history))


def shown(found: Evaluation) -> list[int]:
    """Classes that have images or were said; of many those with most mistakes, in row order."""
    mistakes = found.confusion.sum(axis=0) + found.confusion.sum(axis=1) - 2 * found.confusion.diagonal()
    present = np.flatnonzero(found.confusion.sum(axis=0) + found.confusion.sum(axis=1))
    most = present[np.argsort(-mistakes[present], kind="stable")][:_CLASSES]
    return sorted(most.tolist())


def bins(answers: Answers) -> list[Bin]:
    """Answers by their probability, in tenths."""
    place = np.clip(np.ceil(answers.confidences * _BINS).astype(np.int64) - 1, 0, _BINS - 1)
    groups = [place == at for at in range(_BINS)]
    return [
        Bin(int(group.sum()), float(answers.confidences[group].mean()), float(answers.right[group].mean()))
        for group in groups
        if group.any()
    ]


def thumbnail(image: ByteImage) -> str:
    """A small JPEG of it as a ``data:`` address."""
    from PIL import Image

    small = Image.fromarray(image)
    small.thumbnail((_SIDE, _SIDE))
    file = io.BytesIO()
    small.save(file, "JPEG", quality=75)
    return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}"


def render_part(view: EvaluationView) -> str:
    """The sections without a frame, for a page that has one."""
    return _render("evaluation_part.html", view, level=3)


def render_page(view: EvaluationView) -> str:
    """A whole page that refers to nothing outside itself."""
    return _render("evaluation.html", view, level=2)


def _render(name: str, view: EvaluationView, level: int) -> str:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(name).render(view=view, found=view.evaluation, level=level)
