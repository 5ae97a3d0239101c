"""Classifiers made by hand from class means and a covariance, without the code that fits them on a device."""

import numpy as np

from lightcl_edge.inference.learned_classifier import LearnedClassifier, NoveltyTerms


def novelty_terms(means, within):
    """The terms by plain inverses, from means (k, d) and the covariance (d, d) of classes of equal size."""
    centre = means.mean(axis=0)
    apart = means - centre
    precision = np.linalg.inv(within)
    matrix = precision - np.linalg.inv(within + apart.T @ apart / len(means))
    own = ((means + centre) @ precision * apart).sum(axis=1)
    return NoveltyTerms(centre.astype(np.float32), matrix.astype(np.float32), own)


def hand_made(means, within, *, held_out, head_share=0.0, closed_form_share=1.0, temperature=1.0):
    """Linear discriminant analysis with these means and covariance; ``held_out`` are taps, shape (n, d)."""
    weights = np.linalg.solve(within, means.T).T.astype(np.float32)
    biases = (-0.5 * (weights * means).sum(axis=1)).astype(np.float32)
    made = LearnedClassifier(
        weights, biases, closed_form_share, head_share, temperature, novelty_terms(means, within), _none()
    )
    scores = made.novelty(held_out) if len(held_out) else _none()
    quantiles = np.quantile(scores, np.linspace(0, 1, 101)).astype(np.float32) if len(scores) else _none()
    return LearnedClassifier(**{**made.__dict__, "held_out_scores": quantiles})


def _none():
    return np.zeros(0, np.float32)
