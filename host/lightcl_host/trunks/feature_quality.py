"""How well features serve a task: accuracy of a closed-form classifier, and whether neighbours stay neighbours."""

import numpy as np
from numpy.typing import NDArray

from lightcl_edge.data.sums import Pooled
from lightcl_edge.files.tensors import FloatArray, IntArray
from lightcl_edge.learning.closed_form.analysis import analysis_rows

_FOLDS = 4
#: A nearest neighbour is kept where it is among this many nearest by the other features.
NEAREST = 5


def held_out_hits(taps: FloatArray, labels: IntArray) -> NDArray[np.bool_]:
    """Whether linear discriminant analysis names each sample correctly when it is fitted without it, shape ``(n,)``.

    Samples are divided into folds, each class alike. Every class needs at least two samples.
    """
    fold = np.zeros(len(labels), np.int64)
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        fold[rows] = np.arange(len(rows)) % _FOLDS
    hits = np.zeros(len(labels), np.bool_)
    for held in range(_FOLDS):
        fitted = fold != held
        hits[~fitted] = _predict(taps[fitted], labels[fitted], taps[~fitted]) == labels[~fitted]
    return hits


def _predict(taps: FloatArray, labels: IntArray, others: FloatArray) -> IntArray:
    known, row, counts = np.unique(labels, return_inverse=True, return_counts=True)
    means = np.stack([taps[row == at].mean(axis=0, dtype=np.float64) for at in range(len(known))])
    apart = taps - means[row]
    rows = analysis_rows(Pooled(counts, means, apart.T @ apart))
    return np.asarray(known[(others @ rows.weights.T + rows.biases).argmax(axis=1)], np.int64)


def neighbours_kept(taps: FloatArray, reference: FloatArray) -> float:
    """Share of samples whose nearest neighbour is among the :data:`NEAREST` nearest by the reference.

    Args:
        taps: shape ``(n, size)``, of at least two samples; the reference has the same samples.
    """
    nearest, known = _order(taps)[:, 0], _order(reference)[:, :NEAREST]
    return float((known == nearest[:, None]).any(axis=1).mean())


def _order(taps: FloatArray) -> IntArray:
    """For each sample the others, the nearest by Euclidean distance first, shape ``(n, n - 1)``."""
    rows = taps.astype(np.float64)
    lengths = np.square(rows).sum(axis=1)
    distances = lengths[:, None] + lengths - 2 * rows @ rows.T
    np.fill_diagonal(distances, np.inf)
    return np.asarray(distances.argsort(axis=1)[:, :-1], np.int64)
