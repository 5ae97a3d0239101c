"""A closed-form linear probe: how well classes can be told apart by features as they are."""

from __future__ import annotations

import numpy as np

from lightcl_edge.files.tensors import FloatArray, IntArray

#: Weight of the squared norm of the probe, for features of unit mean square norm.
RIDGE = 1e-3
#: Maps are averaged down to at most this many cells a side before they are probed.
PROBE_CELLS = 4


def ridge_accuracy(
    fit: FloatArray, fit_labels: IntArray, test: FloatArray, test_labels: IntArray, ridge: float = RIDGE
) -> float:
    """Fit a ridge regression to one-hot labels, and count right answers on other samples.

    Features are standardised by the fitted samples' mean and deviation and divided by the root of their number; the
    probe minimises ``mean_i |W z_i - (y_i - mean y)|^2 + ridge |W|^2``, solved through the samples' inner products.

    Args:
        fit: to fit on, shape ``(n, ...)``.
        fit_labels: shape ``(n,)``.
        test: to judge on, shape ``(m, ...)``.
        test_labels: shape ``(m,)``.
        ridge: see :data:`RIDGE`.

    Returns:
        The share of right answers on the other samples.
    """
    known, scaled = _standardised(fit, test)
    classes = np.unique(np.concatenate([fit_labels, test_labels]))
    targets = (fit_labels[:, None] == classes[None]).astype(np.float64)
    offset = targets.mean(axis=0)
    kernel = np.asarray(known @ known.T, np.float64)
    kernel[np.diag_indices_from(kernel)] += ridge * len(fit)
    weights = np.linalg.solve(kernel, targets - offset)
    scores = np.asarray(scaled @ known.T, np.float64) @ weights + offset
    return float((classes[scores.argmax(axis=1)] == test_labels).mean())


def _standardised(fit: FloatArray, test: FloatArray) -> tuple[FloatArray, FloatArray]:
    known, other = (array.reshape(len(array), -1) for array in (fit, test))
    mean, deviation = known.mean(axis=0), known.std(axis=0)
    # An entry that never changed among the fitted samples says nothing; dividing by its deviation would make it loud.
    alive = deviation > 1e-6 * max(float(deviation.max(initial=0.0)), 1e-30)
    scale = np.where(alive, 1.0 / np.where(alive, deviation, 1.0), 0.0) / np.sqrt(max(int(alive.sum()), 1))
    return ((known - mean) * scale).astype(np.float32), ((other - mean) * scale).astype(np.float32)
