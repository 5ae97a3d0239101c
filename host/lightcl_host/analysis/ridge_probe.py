"""The ridge probe: how well a linear classifier in closed form tells classes apart by features as they are."""

import numpy as np
from numpy.typing import NDArray

from lightcl_edge.files.tensors import FloatArray, IntArray

#: Weight of the squared norm of the probe, for features of unit mean square norm.
RIDGE = 1e-3
#: Maps are averaged down to at most this many cells a side before they are probed.
PROBE_CELLS = 4


def ridge_right(
    fit: FloatArray, fit_labels: IntArray, test: FloatArray, test_labels: IntArray, ridge: float = RIDGE
) -> NDArray[np.bool_]:
    """Fit a ridge regression to one-hot labels, and return which of the other samples it names rightly.

    Features of shape ``(n, ...)`` are standardised by the fitted samples' mean and deviation and divided by the root of
    their number. The probe minimises ``mean_i |W z_i - (y_i - mean y)|^2 + ridge |W|^2``. The dual form,
    an ``n x n`` system, is solved: features have more entries than there are images.
    """
    known, other = _standardised(fit, test)
    classes, rows = np.unique(fit_labels, return_inverse=True)
    targets = np.eye(len(classes))[rows]
    gram = (known @ known.T).astype(np.float64) + ridge * len(fit) * np.eye(len(fit))
    scores = (other @ known.T) @ np.linalg.solve(gram, targets - targets.mean(axis=0)) + targets.mean(axis=0)
    return np.asarray(classes[scores.argmax(axis=1)] == test_labels)


def _standardised(fit: FloatArray, test: FloatArray) -> tuple[FloatArray, FloatArray]:
    known, other = (array.reshape(len(array), -1) for array in (fit, test))
    mean, deviation = known.mean(axis=0), known.std(axis=0)
    # an entry that is constant in the fitted samples says nothing, and its deviation would blow it up in others
    alive = deviation > 1e-6 * max(float(deviation.max(initial=0.0)), 1e-30)
    scale = np.where(alive, 1.0 / np.where(alive, deviation, 1.0), 0.0) / np.sqrt(max(int(alive.sum()), 1))
    return ((known - mean) * scale).astype(np.float32), ((other - mean) * scale).astype(np.float32)
