"""How many threads numpy's matrix products take.

OpenBLAS starts a thread for each processor and lets them wait busily. Matrices of a classifier in closed form are so
small that this costs more than it gives: on a busy machine with two processors, 25 times the processor time.
"""

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

#: What the functions are called in numpy's own wheels, in those of others, and in libraries of distributions.
_PREFIXES, _SUFFIXES = ("scipy_openblas", "openblas"), ("64_", "")


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Let numpy compute with one thread inside, where its library can be told so; else nothing changes."""
    before, set_threads = _threads()
    if before is None:
        yield
        return
    count = before()
    set_threads(1)
    try:
        yield
    finally:
        set_threads(count)


@lru_cache(maxsize=1)
def _threads() -> tuple[Any, Any]:
    """OpenBLAS's functions that give and set the number of threads; None twice where numpy has another library."""
    with suppress(OSError, AttributeError):
        # numpy's linear algebra is linked to the library, so that its symbols are found through it
        library = ctypes.CDLL(_linear_algebra())
        for prefix, suffix in product(_PREFIXES, _SUFFIXES):
            with suppress(AttributeError):
                return library[f"{prefix}_get_num_threads{suffix}"], library[f"{prefix}_set_num_threads{suffix}"]
    return None, None


def _linear_algebra() -> str:
    module = np.linalg._umath_linalg
    return str(Path(module.__file__))
