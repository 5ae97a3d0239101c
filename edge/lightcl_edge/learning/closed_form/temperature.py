"""How sure a classifier may be: the temperature of its logits (Guo et al. 2017), fitted on held-out samples."""

import numpy as np

from lightcl_edge.files.tensors import DoubleArray, IntArray
from lightcl_edge.planning.plan import FITTED_LOGITS

#: Mean squared distance between class means at which probabilities of the analysis are right, measured with 2 to 200
#: images a class (9 to 14). With many directions and few samples the analysis is surer of itself than it should be.
SEPARATION = 11.0
#: How far the logarithm of the temperature usually lies from the starting one, and how far it may.
USUAL_CHANGE, LARGEST_CHANGE = 0.5, 4.0
#: A temperature is fitted on at least so many samples, if there are.
_FEWEST_SAMPLES = 100
_GOLDEN, _ROUNDS = (np.sqrt(5.0) - 1.0) / 2.0, 24


def starting_temperature(means: DoubleArray, weights: DoubleArray) -> float:
    """The temperature to expect of rows in closed form, above 0.

    Args:
        means: of the classes, shape ``(k, d)``.
        weights: their rows, shape ``(k, d)``.
    """
    products = means @ weights.T
    own = products.diagonal()
    pairs = own[:, None] + own[None] - products - products.T
    apart = float(pairs.sum()) / max(1, len(own) * (len(own) - 1)) if len(own) > 1 else 2.0 * float(own.sum())
    return max(apart / SEPARATION, 1e-6)


def fitted_on(samples: int, classes: int) -> IntArray:
    """Positions of the samples that a temperature is fitted on: all, or an even choice where there are many classes."""
    return evenly(samples, max(_FEWEST_SAMPLES, FITTED_LOGITS // max(1, classes)))


def evenly(count: int, most: int) -> IntArray:
    """At most so many positions of ``count``, evenly spread, the first and the last among them."""
    return np.arange(count) if count <= most else np.linspace(0, count - 1, most).astype(np.int64)


def fit_temperature(logits: DoubleArray, labels: IntArray, start: float) -> float:
    """The temperature that makes held-out samples most likely, every class with the same weight.

    Few samples say little: the temperature is drawn to ``start``, as if its logarithm had a normal distribution with
    the deviation ``USUAL_CHANGE``. Without samples it is ``start``. The loss has one minimum, which golden section
    search (Kiefer 1953) finds.

    Args:
        logits: shape ``(n, k)``; may be empty.
        labels: shape ``(n,)``.
        start: above 0.
    """
    if not len(labels):
        return start
    counts = np.bincount(labels, minlength=logits.shape[1])
    weights = (len(labels) / np.count_nonzero(counts)) / counts[labels]

    def loss(change: float) -> float:
        likely = negative_log_likelihood(logits / (start * np.exp(change)), labels)
        return float(likely @ weights) + 0.5 * (change / USUAL_CHANGE) ** 2

    low, high = -LARGEST_CHANGE, LARGEST_CHANGE
    inner = [high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)]
    losses = [loss(change) for change in inner]
    for _ in range(_ROUNDS):
        if losses[0] < losses[1]:
            high, inner[1], losses[1] = inner[1], inner[0], losses[0]
            inner[0] = high - _GOLDEN * (high - low)
            losses[0] = loss(inner[0])
        else:
            low, inner[0], losses[0] = inner[0], inner[1], losses[1]
            inner[1] = low + _GOLDEN * (high - low)
            losses[1] = loss(inner[1])
    return start * float(np.exp((low + high) / 2.0))


def negative_log_likelihood(logits: DoubleArray, labels: IntArray) -> DoubleArray:
    """Of each sample, shape ``(n,)``, from logits of shape ``(n, k)``."""
    shifted = logits - logits.max(axis=1, keepdims=True)
    found: DoubleArray = np.log(np.exp(shifted).sum(axis=1)) - shifted[np.arange(len(labels)), labels]
    return found
