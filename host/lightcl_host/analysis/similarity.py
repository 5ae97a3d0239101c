"""Linear CKA from small batches: how alike two sets of features of the same images are.

Kornblith et al., "Similarity of Neural Network Representations Revisited", ICML 2019. The estimator of HSIC is the
unbiased one (Song et al., JMLR 2012), averaged over batches as in Nguyen et al., "Do Wide and Deep Networks Learn the
Same Things?", ICLR 2021. Features of early layers have many more entries than there are images. The plain estimator
would call any two sets of such features alike. No library that the host uses has the unbiased one.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lightcl_edge.files.tensors import FloatArray

Gram = NDArray[np.float64]

#: The estimator divides by ``n - 3``.
SMALLEST_BATCH = 4


def gram(features: FloatArray) -> Gram:
    """Inner products ``(n, n)`` of all pairs of a batch ``(n, ...)``.

    The batch's mean is subtracted first, which changes no result and keeps digits.
    """
    rows = features.reshape(len(features), -1)
    rows = rows - rows.mean(axis=0)
    return np.asarray(rows @ rows.T, np.float64)


def hsic(first: Gram, second: Gram) -> float:
    """The unbiased estimate of the Hilbert-Schmidt independence criterion (Song et al. 2012, equation 5).

    Both matrices ``(n, n)``, ``n >= 4``, are of the same images. It is 0 in expectation for independent features, and
    may be negative.
    """
    count = len(first)
    a, b = (matrix * (1.0 - np.eye(count)) for matrix in (first, second))
    rows_a, rows_b = a.sum(axis=1), b.sum(axis=1)
    total = float((a * b).sum())
    total += float(rows_a.sum() * rows_b.sum()) / ((count - 1) * (count - 2))
    total -= 2.0 / (count - 2) * float(rows_a @ rows_b)
    return total / (count * (count - 3))


def linear_cka(first: Sequence[Gram], second: Sequence[Gram]) -> float:
    """Similarity, 0 to 1, of two sets of features of the same batches, from their inner products (:func:`gram`).

    It is 1 for features that are equal up to rotation, shift and scale, about 0 for unrelated ones. When features are
    constant in both sets they count as equal, when in one set as unrelated.
    """
    cross = sum(hsic(a, b) for a, b in zip(first, second, strict=True))
    own, other = sum(hsic(a, a) for a in first), sum(hsic(b, b) for b in second)
    if own <= 0.0 or other <= 0.0:
        return 1.0 if own <= 0.0 and other <= 0.0 else 0.0
    return float(np.clip(cross / np.sqrt(own * other), 0.0, 1.0))
