"""Classifiers made by hand from class means and a covariance, without the code that fits them on a device."""

import numpy as np

from lightcl_edge.inference.learned_classifier import LearnedClassifier, NoveltyTerms


def novelty_terms(means, within, shares):
    """The terms by Woodbury's identity, from means (k, d), the covariance (d, d) and the classes' shares (k,)."""
    products = means @ np.linalg.solve(within, means.T)  # mu_i' A^-1 mu_j
    centring = np.eye(len(shares)) - np.outer(np.ones(len(shares)), shares)  # z -> z - (m' A^-1 x)
    inner = np.linalg.inv(np.diag(1 / shares) + centring @ products @ centring.T)
    matrix = centring.T @ inner @ centring
    mean = shares @ products  # m' A^-1 mu_j
    squared = mean @ shares
    # (x-m)' A0^-1 (x-m) = (x-m)' A^-1 (x-m) - u' inner u with u = centring (z - mean)
    vector = 2 * shares - 2 * matrix @ mean
    return NoveltyTerms(matrix, vector, float(mean @ matrix @ mean - squared), products.diagonal().copy())


def hand_made(means, within, shares, *, held_out, head_share=0.0, closed_form_share=1.0, temperature=1.0):
    """Linear discriminant analysis with these means and covariance; ``held_out`` are taps, shape (n, d)."""
    weights = np.linalg.solve(within, means.T).T.astype(np.float32)
    biases = (-0.5 * (weights * means).sum(axis=1)).astype(np.float32)
    made = LearnedClassifier(
        weights, biases, closed_form_share, head_share, temperature, novelty_terms(means, within, shares), _none()
    )
    scores = made.novelty(held_out) if len(held_out) else _none()
    quantiles = np.quantile(scores, np.linspace(0, 1, 101)).astype(np.float32) if len(scores) else _none()
    return LearnedClassifier(**{**made.__dict__, "held_out_scores": quantiles})


def _none():
    return np.zeros(0, np.float32)
