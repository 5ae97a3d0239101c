"""Linear CKA against cases whose answer is known, and against a direct computation."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from lightcl_host.analysis.similarity import gram, hsic, linear_cka


def batches(features: np.ndarray, size: int = 32) -> list[np.ndarray]:
    return [gram(features[at : at + size]) for at in range(0, len(features), size)]


@pytest.fixture
def features(rng: np.random.Generator) -> np.ndarray:
    # correlated channels and an offset, as real features have
    return (rng.normal(size=(128, 40)) @ rng.normal(size=(40, 40)) + 5.0).astype(np.float32)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def test_identical_features_have_similarity_1(features: np.ndarray) -> None:
    assert linear_cka(batches(features), batches(features)) == pytest.approx(1.0, abs=1e-12)


def test_a_rotation_a_shift_and_a_scale_change_nothing(features: np.ndarray, rng: np.random.Generator) -> None:
    rotation, _ = np.linalg.qr(rng.normal(size=(40, 40)))
    moved = (3.0 * features @ rotation - 7.0).astype(np.float32)
    assert linear_cka(batches(features), batches(moved)) == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize("width", [10, 2000])  # fewer and many more entries than images
def test_unrelated_features_are_near_0(width: int) -> None:
    rng = np.random.default_rng(1)
    first, second = (rng.normal(size=(512, width)).astype(np.float32) for _ in range(2))
    assert linear_cka(batches(first, 64), batches(second, 64)) < 0.1


def test_the_plain_estimator_would_call_unrelated_wide_features_alike() -> None:
    """Why the unbiased estimator is used: this is what it corrects."""
    rng = np.random.default_rng(1)
    first, second = (gram(rng.normal(size=(32, 2000)).astype(np.float32)) for _ in range(2))
    centre = np.eye(32) - 1 / 32
    plain = [np.trace(centre @ a @ centre @ b) for a, b in ((first, second), (first, first), (second, second))]
    assert plain[0] / np.sqrt(plain[1] * plain[2]) > 0.9
    assert linear_cka([first], [second]) < 0.2


def test_hsic_is_the_u_statistic() -> None:
    """Against the definition as a mean over all quadruples of different samples (Song et al. 2012, equation 4)."""
    rng = np.random.default_rng(2)
    a, b = (gram(rng.normal(size=(7, 3)).astype(np.float32)) for _ in range(2))
    terms = [a[i, j] * (b[i, j] + b[k, m] - 2 * b[i, k]) for i, j, k, m in itertools.permutations(range(7), 4)]
    assert hsic(a, b) == pytest.approx(np.mean(terms), rel=1e-9)


def test_half_of_the_variance_kept_lies_between() -> None:
    rng = np.random.default_rng(3)
    kept, old, new = (rng.normal(size=(512, 20)).astype(np.float32) for _ in range(3))
    first, second = np.hstack([kept, old]), np.hstack([kept, new])
    assert linear_cka(batches(first), batches(second)) == pytest.approx(0.5, abs=0.08)


def test_constant_features() -> None:
    constant = [gram(np.ones((8, 3), np.float32))]
    other = [gram(np.random.default_rng(0).normal(size=(8, 3)).astype(np.float32))]
    assert linear_cka(constant, constant) == 1.0 and linear_cka(constant, other) == 0.0
