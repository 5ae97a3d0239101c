"""The inverse against numpy's own."""

import numpy as np
import pytest

from lightcl_edge.errors import StateError
from lightcl_edge.learning.closed_form.cholesky import invert_in_place


@pytest.mark.parametrize("size", [1, 127, 128, 300])
def test_a_matrix_is_inverted_in_its_own_memory(size):
    rng = np.random.default_rng(size)
    samples = rng.normal(size=(size + 5, size))
    matrix = samples.T @ samples + 0.1 * np.eye(size)
    expected = np.linalg.inv(matrix)
    invert_in_place(matrix)
    assert np.allclose(matrix, expected, rtol=1e-8, atol=1e-10)
    assert np.array_equal(matrix, matrix.T)


def test_what_is_no_covariance_is_refused():
    with pytest.raises(StateError, match="can't be solved"):
        invert_in_place(-np.eye(3))
