"""Calibration error against the definition, AUROC against scikit-learn."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from lightcl_edge.inference.calibration import auroc, expected_calibration_error

FEW = st.lists(st.integers(0, 6), min_size=1, max_size=30)  # many ties


@settings(max_examples=50)
@given(FEW, FEW)
def test_auroc_is_scikit_learns_also_with_ties(low, high):
    labels = [0] * len(low) + [1] * len(high)
    assert auroc(np.array(low, float), np.array(high, float)) == pytest.approx(roc_auc_score(labels, low + high))


def test_auroc_of_groups_apart_and_of_equal_scores():
    low, high = np.arange(5.0), np.arange(5.0, 9.0)
    assert (auroc(low, high), auroc(high, low), auroc(low[:1], low[:1])) == (1.0, 0.0, 0.5)


@settings(max_examples=50)
@given(st.lists(st.tuples(st.floats(0, 1, width=32), st.booleans()), min_size=1, max_size=60))
def test_calibration_error_is_that_of_its_definition(samples):
    confidences, right = np.array([c for c, _ in samples], np.float32), np.array([r for _, r in samples])
    expected = 0.0
    for place in range(15):
        least, most = place / 15, (place + 1) / 15
        # A probability of exactly 0 can't be that of a prediction; it belongs to the first bin.
        inside = [at for at, c in enumerate(confidences.tolist()) if least < c <= most or (place == 0 and c == 0)]
        if inside:
            gap = confidences[inside].astype(float).mean() - right[inside].mean()
            expected += len(inside) / len(samples) * abs(gap)
    assert expected_calibration_error(confidences, right) == pytest.approx(expected, abs=1e-9)


def test_calibrated_probabilities_have_no_error():
    rng = np.random.default_rng(0)
    confidences = rng.uniform(0.2, 1.0, 200_000)
    assert expected_calibration_error(confidences, rng.random(200_000) < confidences) < 0.01
    assert expected_calibration_error(confidences, rng.random(200_000) < confidences - 0.1) == pytest.approx(
        0.1, abs=0.01
    )
