"""The ridge probe: how well a linear classifier in closed form tells classes apart by features as they are."""

import numpy as np

from lightcl_edge.files.tensors import FloatArray, IntArray

#: Weight of the squared norm of the probe, for features of unit mean square norm.
RIDGE = 1e-3
#: Maps are averaged down to at most this many cells a side before they are probed.
PROBE_CELLS = 4


def ridge_accuracy(
    fit: FloatArray, fit_labels: IntArray, test: FloatArray, test_labels: IntArray, ridge: float = RIDGE
) -> float:
    """Fit a ridge regression to one-hot labels, and return the share of right answers on other samples.

    Features of shape ``(n, ...)`` are standardised by the fitted samples' mean and deviation and divided by the root of
    their number. The probe minimises ``mean_i |W z_i - (y_i - mean y)|^2 + ridge |W|^2``.
    """
    from sklearn.linear_model import RidgeClassifier

    known, scaled = _standardised(fit, test)
    probe = RidgeClassifier(alpha=ridge * len(fit)).fit(known, fit_labels)
    return float(probe.score(scaled, test_labels))


def _standardised(fit: FloatArray, test: FloatArray) -> tuple[FloatArray, FloatArray]:
    known, other = (array.reshape(len(array), -1) for array in (fit, test))
    mean, deviation = known.mean(axis=0), known.std(axis=0)
    # an entry that is constant in the fitted samples says nothing, and its deviation would blow it up in others
    alive = deviation > 1e-6 * max(float(deviation.max(initial=0.0)), 1e-30)
    scale = np.where(alive, 1.0 / np.where(alive, deviation, 1.0), 0.0) / np.sqrt(max(int(alive.sum()), 1))
    return ((known - mean) * scale).astype(np.float32), ((other - mean) * scale).astype(np.float32)
