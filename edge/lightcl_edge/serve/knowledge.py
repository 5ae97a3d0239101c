"""What the generation in use knows, judged by the pictures that were kept out of training."""

from __future__ import annotations

import itertools
from contextlib import suppress

import numpy as np

from lightcl_edge.bundle.manifest import Manifest
from lightcl_edge.data.held_out_samples import Holdout
from lightcl_edge.errors import StateError
from lightcl_edge.files.tensors import FloatArray, IntArray
from lightcl_edge.inference.calibration import expected_calibration_error
from lightcl_edge.serve.records.knowing import Calibration, Generation, History, KnownClass
from lightcl_edge.serve.records.knowing import Knowledge as Found
from lightcl_edge.serve.watching.recogniser import Recogniser
from lightcl_edge.state.state import State

#: Held-out features that are computed at once.
_BATCH = 32
#: Ranges of probability that calibration is counted in.
_BINS = 5


def knowledge(state: State, manifest: Manifest, recogniser: Recogniser) -> Found:
    """Classes, and how well held-out features of them are recognised now."""
    capacity = manifest.head.capacity
    if not state.exists():
        return Found(0, capacity, [_class(name, None, 0, None) for name in manifest.classes], None, [], [], None)
    generation = state.read()
    names = generation.meta.classes
    counts = [count or None for count in generation.meta.images_by_class] or [None] * len(names)
    holdout = Holdout.from_tensors(generation.holdout, tuple(manifest.feature.shape), manifest.head.tap_size)
    probabilities, labels = _judged(holdout, recogniser, len(names))
    confusion = np.zeros((len(names), len(names)), np.int64)
    if len(labels):
        np.add.at(confusion, (labels, probabilities.argmax(axis=1)), 1)
    totals, right = confusion.sum(axis=1), confusion.diagonal()
    shares = [float(right[row] / totals[row]) if totals[row] else None for row in range(len(names))]
    known = [share for share in shares if share is not None]
    return Found(
        generation.meta.generation,
        capacity,
        [_class(name, counts[row], int(totals[row]), shares[row]) for row, name in enumerate(names)],
        float(np.mean(known)) if known else None,
        confusion.tolist(),
        _calibration(probabilities, labels),
        expected_calibration_error(probabilities.max(axis=1), probabilities.argmax(axis=1) == labels)
        if known
        else None,
    )


def _class(name: str, pictures: int | None, held_out: int, accuracy: float | None) -> KnownClass:
    return KnownClass(name, pictures, held_out, accuracy)


def _judged(holdout: Holdout, recogniser: Recogniser, classes: int) -> tuple[FloatArray, IntArray]:
    """Probabilities of the held-out features and their labels; empty when nothing can be predicted."""
    found = []
    for at in range(0, len(holdout.labels), _BATCH):
        part = recogniser.probabilities(holdout.features[at : at + _BATCH])
        if part is None or part.shape[1] != classes:  # another generation is in use by now
            return np.empty((0, classes), np.float32), np.empty(0, np.int64)
        found.append(part)
    return (np.concatenate(found) if found else np.empty((0, classes), np.float32)), holdout.labels


def _calibration(probabilities: FloatArray, labels: IntArray) -> list[Calibration]:
    if not len(labels):
        return []
    best, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
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
        entry = Generation(number, None, [], None, None, 0, in_use, "its record is damaged")
        with suppress(StateError):
            meta = state.meta(number)
            entry = Generation(
                number, meta.created, meta.classes, meta.holdout_accuracy, meta.strategy, meta.images, in_use
            )
        found.append(entry)
    classes = list(state.read(0).meta.classes)
    return History(current, [*found, Generation(0, None, classes, None, None, 0, current == 0)])
