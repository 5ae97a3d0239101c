"""What a person should look at after a task: classes that fell, and images that look like another known class."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lightcl_edge.console.text import count
from lightcl_edge.files.tensors import FloatArray, IntArray, distinct
from lightcl_edge.learning.judging import Judgement, Reference
from lightcl_edge.learning.strategies.forward import parts

#: An image surely shows a class when the old classifier is at least this sure of it.
CERTAINTY = 0.9
#: A class is said to have fallen when it lost more than this share of its images, and more than one image.
FALL = 0.15
#: Many images of a known class look like another one when more than this share surely does.
LIKE_ANOTHER = 0.3
#: Of a new class: a strange image may look sure by chance.
NEW_LIKE_ANOTHER = 0.4
#: Fewer images than this are no pattern.
FEWEST = 3


@dataclass(frozen=True)
class Lookalike:
    """Images of a class that surely show another class, by what was known before the task.

    Attributes:
        row: of their label.
        other: row of the class that most of them show.
        images: so many of them.
        judged: of so many images with this label.
    """

    row: int
    other: int
    images: int
    judged: int

    def text(self, classes: Sequence[str]) -> str:
        return f"{self.images} of {self.judged} images of {classes[self.row]} look like {classes[self.other]}"


def lookalikes(logits: FloatArray, unknown: NDArray[np.bool_], labels: IntArray) -> list[Lookalike]:
    """For each label the known class that most of its images surely show instead; none where no image does.

    Args:
        logits: of the old classifier over its temperature, shape ``(n, known)``.
        unknown: which images it calls never seen, shape ``(n,)``.
        labels: rows of the classifier, shape ``(n,)``.
    """
    if not logits.shape[1] or not len(labels):
        return []
    said = logits.argmax(axis=1)
    certainty = 1.0 / np.exp(logits - logits.max(axis=1, keepdims=True)).sum(axis=1, dtype=np.float64)
    sure = (certainty >= CERTAINTY) & ~unknown & (said != labels)
    found = []
    for row in distinct(labels).tolist():
        others = Counter(said[sure & (labels == row)].tolist())
        for other, images in others.most_common(1):
            found.append(Lookalike(row, other, images, int((labels == row).sum())))
    return found


def warnings(
    judgement: Judgement, references: tuple[Reference, Reference], on_earlier: FloatArray, known: int
) -> list[str]:
    """Sentences for a person, worst first; none when all went well.

    Args:
        references: samples of earlier classes, and of the task.
        on_earlier: the new classifier's logits of the former, shape ``(n, classes)``.
        known: the old classifier knew so many classes.
    """
    earlier, own = references
    return [
        *_mixed(judgement.classes, lookalikes(own.logits, own.unknown, own.samples.labels), known),
        *_fallen(judgement, earlier.samples.labels, on_earlier),
    ]


def _mixed(classes: Sequence[str], found: Sequence[Lookalike], known: int) -> list[str]:
    lines = []
    for each in sorted(found, key=lambda each: -each.images / each.judged):
        share = LIKE_ANOTHER if each.row < known else NEW_LIKE_ANOTHER
        if each.images >= FEWEST and each.images > share * each.judged:
            lines.append(f"{each.text(classes)}. If they are: lightcl-edge rollback")
    return lines


def _fallen(judgement: Judgement, labels: IntArray, on_earlier: FloatArray) -> list[str]:
    said = on_earlier.argmax(axis=1) if len(labels) else labels
    lines = []
    lost = np.nan_to_num((judgement.before - judgement.after) * judgement.images)
    for row in np.argsort(-lost, kind="stable").tolist():
        images = int(judgement.images[row])
        if lost[row] < 1.5 or lost[row] <= FALL * images:
            continue
        before, after = (round(float(share[row]) * images) for share in (judgement.before, judgement.after))
        mistaken = Counter(said[(labels == row) & (said != row)].tolist()).most_common(1)
        taken = "".join(f": {times} taken for {judgement.classes[at]}" for at, times in mistaken)
        lines.append(f"{judgement.classes[row]} fell from {before} to {after} of {count(images, 'image')}{taken}")
    return lines


def contradictions(logits: FloatArray, labels: IntArray, known: int) -> tuple[int, int]:
    """Count the samples of which the old classifier surely says something else than their label.

    Args:
        logits: of the old classifier over its temperature, shape ``(n, known)``.
        labels: rows of the classifier, shape ``(n,)``; the old one knew the first ``known`` rows.

    Returns:
        How many samples contradict their label, and how many have a known class at all.
    """
    mine = labels < known
    if known == 0 or not mine.any():
        return 0, 0
    wrong = 0
    for part in parts(np.flatnonzero(mine)):
        among = logits[part, :known].astype(np.float64)
        among -= among.max(axis=1, keepdims=True)
        certainty = 1.0 / np.exp(among).sum(axis=1)
        wrong += int(((among.argmax(axis=1) != labels[part]) & (certainty >= CERTAINTY)).sum())
    return wrong, int(mine.sum())
