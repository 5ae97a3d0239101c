"""Samples of normal classes, and their sums by textbook formulas."""

from __future__ import annotations

import numpy as np

from lightcl_edge.data.sums import Pooled

SIZE = 7


def samples(counts, seed=0, size=SIZE, apart=1.0):
    """Normal samples of classes with different means, shape ``(n, size)``, and labels."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(len(counts)), counts)
    means = rng.normal(size=(len(counts), size)) * apart
    mixing = rng.normal(size=(size, size)) / np.sqrt(size)
    values = means[labels] + rng.normal(size=(len(labels), size)) @ mixing
    return values.astype(np.float16).astype(np.float64), labels


def pooled_of(values, labels):
    classes = len(np.unique(labels))
    means = np.stack([values[labels == row].mean(axis=0) for row in range(classes)])
    centred = values - means[labels]
    return Pooled(np.bincount(labels), means, centred.T @ centred)
