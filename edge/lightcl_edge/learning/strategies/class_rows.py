"""The classifier's rows: read, written, and started for new classes from their class means.

With penultimate activations ``x`` and class means ``mu_c``, the row ``w_c = s mu_c``, ``b_c = -s |mu_c|^2 / 2`` makes
the logits ``s (mu_c . x - |mu_c|^2 / 2)``. Their order is that of the nearest class mean (Mensink et al., 2013). So a
new class is recognised before the first step. Rows of different tasks compare fairly because they share ``s``.
"""

from collections import ChainMap
from collections.abc import Sequence

import numpy as np

from lightcl_edge.bundle.graph_names import BIAS, WEIGHT
from lightcl_edge.errors import ClassifierFullError
from lightcl_edge.files.tensors import DoubleArray, FloatArray, IntArray
from lightcl_edge.learning.engines.contract import Engine

#: ``s`` times the mean squared distance of a sample from its class mean.
ROW_SHARPNESS = 10.0
#: The longest row that ``s`` may make. Features of a network with random weights can be so alike that ``s`` would be
#: 1e17, and the first gradient through such rows would not be finite.
MAX_ROW_LENGTH = 1000.0


def assign_rows(known: Sequence[str], task: Sequence[str], capacity: int) -> list[str]:
    """All classes after a task, known ones first; the position is the row.

    Raises ClassifierFullError when there are more classes than rows.
    """
    classes = [*known, *(name for name in task if name not in known)]
    if len(classes) > capacity:
        raise ClassifierFullError(
            f"the classifier has {capacity} rows, found {len(classes)} classes; "
            f"export a bundle with --max-classes {len(classes)} or more"
        )
    return classes


def class_means(values: FloatArray, labels: IntArray, rows: Sequence[int]) -> tuple[FloatArray, float]:
    """Means of classes, shape ``(len(rows), d)``, and the ``s`` that their spread suggests.

    From penultimate activations ``(n, d)`` and labels ``(n,)``. Each of ``rows`` has a sample.
    """
    means = np.stack([values[labels == row].mean(axis=0, dtype=np.float64) for row in rows])
    spread = np.mean(
        [np.square(values[labels == row] - mean).sum(axis=1).mean() for row, mean in zip(rows, means, strict=True)]
    )
    norm = float(np.square(means).sum(axis=1).mean())
    # A class of one image has no spread. A tenth of the mean's own length stands in for it.
    scale = ROW_SHARPNESS / float(spread if spread > 1e-6 * norm else max(0.1 * norm, 1e-12))
    longest = float(np.sqrt(np.square(means).sum(axis=1).max()))
    scale = min(scale, MAX_ROW_LENGTH / max(longest, 1e-12))
    return means.astype(np.float32), scale


def nearest_mean_rows(means: FloatArray | DoubleArray, counts: IntArray, scale: float) -> tuple[FloatArray, FloatArray]:
    """Weights ``(k, d)`` and biases ``(k,)`` of classes with these means, shape ``(k, d)``; ``scale`` is ``s``.

    The mean of few samples, ``counts`` of shape ``(k,)``, is noisy. Its squared length is too large by a sample's mean
    squared distance over the count, which is ``ROW_SHARPNESS / s`` over it.
    """
    lengths = scale * np.square(means).sum(axis=1, dtype=np.float64)
    biases = -0.5 * (lengths - np.minimum(ROW_SHARPNESS / counts, lengths))
    return (scale * means).astype(np.float32), biases.astype(np.float32)


def classifier_rows(engine: Engine) -> dict[str, FloatArray]:
    """A copy of the classifier: weight, then bias."""
    views = engine.views()
    return {name: np.array(views[name]) for name in (WEIGHT, BIAS)}


def write_rows(engine: Engine, rows: Sequence[int] | IntArray, weights: FloatArray, biases: FloatArray) -> None:
    """Replace rows of the classifier: ``weights`` of shape ``(len(rows), d)``, ``biases`` of ``(len(rows),)``."""
    classifier = classifier_rows(engine)
    classifier[WEIGHT][rows], classifier[BIAS][rows] = weights, biases
    engine.load(ChainMap(classifier, dict(engine.views())))
