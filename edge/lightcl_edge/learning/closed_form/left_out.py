"""Logits that samples would have if the classifier had not learned them, without learning anew.

They tell how sure the classifier may be where too few samples were held out.
"""

from collections.abc import Sequence

import numpy as np

from lightcl_edge.data.sums import Pooled, Sums
from lightcl_edge.files.tensors import DoubleArray, FloatArray, IntArray
from lightcl_edge.learning.closed_form.analysis import Rows
from lightcl_edge.learning.closed_form.temperature import evenly

#: Held-out samples suffice from here on.
ENOUGH_HELD_OUT = 100
#: Without one of fewer samples, a class is not what it will be with all.
_FEWEST = 10
#: As many classes, and samples of each, tell as much as all do; each class is read from its file.
_CLASSES, _SAMPLES = 16, 24


def learned_samples(sums: Sums, classes: Sequence[str], held_out: int) -> tuple[FloatArray, IntArray]:
    """Some samples that are kept in the sums, evenly chosen: taps ``(n, size)`` and rows ``(n,)`` of their classes.

    None where there are enough held-out ones. A class of very many samples keeps none of them.
    """
    counts = sums.counts
    rows = [row for row, name in enumerate(classes) if _FEWEST <= counts.get(name, 0) < sums.size]
    if held_out >= ENOUGH_HELD_OUT or not rows:
        return np.empty((0, sums.size), np.float32), np.empty(0, np.int64)
    chosen = [rows[at] for at in evenly(len(rows), _CLASSES)]
    values = [sums.classes[classes[row]].read().values for row in chosen]
    taken = [part[evenly(len(part), _SAMPLES)].astype(np.float32) for part in values]
    return np.concatenate(taken), np.repeat(chosen, [len(part) for part in taken])


def left_out_logits(rows: Rows, pooled: Pooled, taps: FloatArray, labels: IntArray) -> DoubleArray:
    """Logits of learned samples by rows that each one itself had no part in, shape ``(n, k)``.

    The sample leaves its class's mean and the covariance, whose inverse follows from one product (Sherman and Morrison
    1950); the shrinkage stays.

    Args:
        rows: of all classes.
        pooled: its means and counts; the scatter is not looked at.
        taps: shape ``(n, d)``.
        labels: shape ``(n,)``, of classes with two samples or more.
    """
    apart, counts = taps - pooled.means[labels], pooled.counts[labels].astype(np.float64)
    towards = apart @ rows.precision if isinstance(rows.precision, np.ndarray) else apart * rows.precision
    weight = rows.sample_weight * counts / (counts - 1.0)
    length = np.einsum("nd,nd->n", towards, apart)
    gain = weight / (1.0 - weight * length)
    along_means, along_sample = towards @ pooled.means.T, np.einsum("nd,nd->n", towards, taps)
    logits = taps @ rows.weights.T + rows.biases
    logits += (gain * along_sample)[:, None] * along_means - 0.5 * gain[:, None] * np.square(along_means)
    # its own class: the mean moves away from the sample
    own = np.arange(len(labels)), labels
    share = 1.0 / (counts - 1.0)
    along_mean = along_means[own]
    moved = along_mean - share * length
    plain = np.einsum("nd,nd->n", taps, rows.weights[labels]) - share * along_sample
    square = np.einsum("kd,kd->k", rows.weights, pooled.means)[labels]
    square += share**2 * length - 2.0 * share * along_mean
    logits[own] = plain + gain * along_sample * moved - 0.5 * (square + gain * np.square(moved))
    logits[own] += 0.5 * rows.noise[labels]
    return logits
