"""What strategies in closed form share: the head's inner activations, and rows written into its classifier."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from lightcl_edge.bundle.manifest import BIAS, WEIGHT
from lightcl_edge.engines.contract import Engine
from lightcl_edge.files.tensors import FloatArray, IntArray, Parameters

#: Samples that pass the head at once.
_BATCH = 16


def penultimate_batches(
    engine: Engine, read: Callable[[IntArray], FloatArray], rows: IntArray
) -> Iterator[tuple[slice, FloatArray]]:
    """The classifier's inputs under the engine's present head, some samples at a time.

    Args:
        engine: holds the head.
        read: gives float features at positions.
        rows: positions.

    Yields:
        Which of ``rows``, and their activations, shape ``(k, penultimate_size)``.
    """
    for start in range(0, len(rows), _BATCH):
        part = slice(start, min(start + _BATCH, len(rows)))
        yield part, engine.activations(read(rows[part]), ["penultimate"])["penultimate"]


def classifier_rows(engine: Engine) -> dict[str, FloatArray]:
    """A copy of the classifier: weight, then bias."""
    views = engine.views()
    return {name: np.array(views[name]) for name in (WEIGHT, BIAS)}


def write_rows(engine: Engine, rows: Sequence[int] | IntArray, weights: FloatArray, biases: FloatArray) -> None:
    """Replace rows of the classifier; everything else stays.

    Args:
        engine: holds the head.
        rows: which.
        weights: shape ``(len(rows), d)``.
        biases: shape ``(len(rows),)``.
    """
    classifier = classifier_rows(engine)
    classifier[WEIGHT][rows], classifier[BIAS][rows] = weights, biases
    engine.load(ChainMap(classifier, dict(engine.views())))


def load_body(engine: Engine, exported: Parameters) -> None:
    """Everything below the classifier as the bundle brought it; the classifier stays.

    Args:
        engine: holds the head.
        exported: all parameters of the bundle; none leave the engine as it is.
    """
    if exported:
        engine.load(ChainMap(classifier_rows(engine), exported))  # type: ignore[arg-type]  # only read from
