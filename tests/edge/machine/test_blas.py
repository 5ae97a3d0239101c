"""Numpy's own threads, for a while."""

import numpy as np
import pytest

from lightcl_edge.machine import blas
from lightcl_edge.machine.blas import one_blas_thread


def test_one_thread_inside_and_as_many_as_before_afterwards():
    count, set_threads = blas._threads()
    if count is None:
        pytest.skip("numpy has no OpenBLAS here")
    set_threads(2)
    with pytest.raises(ZeroDivisionError), one_blas_thread():
        assert count() == 1
        1 / 0  # noqa: B018
    assert count() == 2


def test_another_library_is_left_alone(monkeypatch):
    monkeypatch.setattr(blas, "_threads", lambda: (None, None))
    with one_blas_thread():
        assert (np.eye(3) @ np.eye(3)).trace() == 3


def test_a_module_that_is_no_library(monkeypatch):
    monkeypatch.setattr(blas, "_linear_algebra", lambda: __file__)
    blas._threads.cache_clear()
    try:
        assert blas._threads() == (None, None)
    finally:
        blas._threads.cache_clear()
