"""The solver against numpy's own."""

import numpy as np
import pytest

from lightcl_edge.learning.closed_form.cholesky import factor_in_place, inverse_trace, solve


@pytest.mark.parametrize("size", [1, 127, 128, 300])
def test_a_system_is_solved_in_the_memory_of_its_matrix(size):
    rng = np.random.default_rng(size)
    samples = rng.normal(size=(size + 5, size))
    matrix, right = samples.T @ samples + 0.1 * np.eye(size), rng.normal(size=(size, 3))
    expected, inverse = np.linalg.solve(matrix, right), np.linalg.inv(matrix)
    factor_in_place(matrix)
    assert np.allclose(solve(matrix, right), expected, rtol=1e-8, atol=1e-10)
    assert inverse_trace(matrix) == pytest.approx(np.trace(inverse), rel=1e-9)


def test_what_is_no_covariance_is_refused():
    with pytest.raises(np.linalg.LinAlgError):
        factor_in_place(-np.eye(3))
