"""What the generation in use knows, judged by the pictures that were kept out of training."""

from __future__ import annotations

import itertools
from contextlib import suppress

import numpy as np

from lightcl_edge.bundle.manifest import Manifest
from lightcl_edge.data.held_out_samples import Holdout
from lightcl_edge.errors import StateError
from lightcl_edge.inference.evaluation import Answers, Evaluation
from lightcl_edge.serve.records.knowing import Calibration, Generation, History, Knowledge, KnownClass
from lightcl_edge.serve.watching.recogniser import Recogniser
from lightcl_edge.state.state import State

#: Ranges of probability that calibration is counted in.
_BINS = 5


def judged(state: State, manifest: Manifest, recogniser: Recogniser) -> Evaluation | None:
    """How well the held-out features are recognised now; None when there are none, or nothing can be predicted."""
    if not state.exists():
        return None
    generation = state.read()
    holdout = Holdout.from_tensors(generation.holdout, tuple(manifest.feature.shape), manifest.head.tap_size)
    return recogniser.evaluate(holdout.features, holdout.labels, generation.meta.generation)


def knowledge(state: State, manifest: Manifest, found: Evaluation | None) -> Knowledge:
    """Classes, and what was found of held-out features of them."""
    capacity = manifest.head.capacity
    if not state.exists():
        brought = [KnownClass(name, None, 0, None) for name in manifest.classes]
        return Knowledge(0, capacity, brought, None, [], [], None)
    meta = state.read().meta
    names = meta.classes
    counts = [count or None for count in meta.images_by_class] or [None] * len(names)
    if found is None or found.classes != names:
        confusion = np.zeros((len(names), len(names)), np.int64)
        found = None
    else:
        confusion = found.confusion
    totals, right = confusion.sum(axis=1), confusion.diagonal()
    shares = [float(right[row] / totals[row]) if totals[row] else None for row in range(len(names))]
    return Knowledge(
        meta.generation,
        capacity,
        [KnownClass(name, counts[row], int(totals[row]), shares[row]) for row, name in enumerate(names)],
        None if found is None else found.balanced_accuracy,
        confusion.tolist(),
        [] if found is None else _calibration(found.answers),
        None if found is None else found.expected_calibration_error,
    )


def _calibration(answers: Answers) -> list[Calibration]:
    best, right = answers.confidences, answers.right
    edges = np.linspace(0, 1, _BINS + 1)
    found = []
    for low, high in itertools.pairwise(edges):
        inside = (best > low) & (best <= high)
        if inside.any():
            share, sure = float(right[inside].mean()), float(min(1.0, best[inside].mean()))
            found.append(Calibration(round(float(low), 3), round(float(high), 3), int(inside.sum()), sure, share))
    return found


def history(state: State) -> History:
    """The generations that are kept, newest first, and the bundle as exported."""
    if not state.exists():
        return History(0, [])
    current = state.current_number()
    found = []
    for number in reversed(state.numbers()):
        in_use = number == current
        entry = Generation(number, None, [], None, 0, 0, None, 0, in_use, "its record is damaged")
        with suppress(StateError):
            meta = state.meta(number)
            tested = meta.holdout_accuracy, meta.holdout_right, meta.holdout_images
            entry = Generation(number, meta.created, meta.classes, *tested, meta.strategy, meta.images, in_use)
        found.append(entry)
    classes = list(state.read(0).meta.classes)
    return History(current, [*found, Generation(0, None, classes, None, 0, 0, None, 0, current == 0)])
