"""Linear CKA from small batches: how alike two sets of features of the same images are.

Kornblith et al., "Similarity of Neural Network Representations Revisited", ICML 2019, with the unbiased estimator of
HSIC (Song et al., JMLR 2012) averaged over batches as in Nguyen et al., "Do Wide and Deep Networks Learn the Same
Things?", ICLR 2021. The plain estimator calls any two sets alike where features have many more entries than there are
images, as early layers have; the unbiased one does not.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lightcl_edge.files.tensors import FloatArray

Gram = NDArray[np.float64]

#: The estimator divides by ``n - 3``.
SMALLEST_BATCH = 4


def gram(features: FloatArray) -> Gram:
    """Inner products of all pairs of a batch.

    Args:
        features: shape ``(n, ...)``; the batch's mean is taken off first, which changes no result and keeps digits.

    Returns:
        Shape ``(n, n)``.
    """
    rows = features.reshape(len(features), -1)
    rows = rows - rows.mean(axis=0)
    return np.asarray(rows @ rows.T, np.float64)


def hsic(first: Gram, second: Gram) -> float:
    """The unbiased estimate of the Hilbert-Schmidt independence criterion (Song et al. 2012, equation 5).

    Args:
        first: inner products, shape ``(n, n)``, ``n >= 4``.
        second: of the same images.

    Returns:
        0 in expectation for independent features; it may be below.
    """
    count = len(first)
    a, b = (matrix * (1.0 - np.eye(count)) for matrix in (first, second))
    rows_a, rows_b = a.sum(axis=1), b.sum(axis=1)
    total = float((a * b).sum())
    total += float(rows_a.sum() * rows_b.sum()) / ((count - 1) * (count - 2))
    total -= 2.0 / (count - 2) * float(rows_a @ rows_b)
    return total / (count * (count - 3))


def linear_cka(first: Sequence[Gram], second: Sequence[Gram]) -> float:
    """Similarity of two sets of features of the same images.

    Args:
        first: inner products of each batch, see :func:`gram`.
        second: of the same batches.

    Returns:
        1 for features that are equal up to rotation, shift and scale, about 0 for unrelated ones; clipped to 0..1.
        Features that are constant in both sets count as equal, in one set as unrelated.
    """
    cross = sum(hsic(a, b) for a, b in zip(first, second, strict=True))
    own, other = sum(hsic(a, a) for a in first), sum(hsic(b, b) for b in second)
    if own <= 0.0 or other <= 0.0:
        return 1.0 if own <= 0.0 and other <= 0.0 else 0.0
    return float(np.clip(cross / np.sqrt(own * other), 0.0, 1.0))
