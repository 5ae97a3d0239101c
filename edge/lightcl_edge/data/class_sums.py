"""What one class has taught, as sums over its samples' taps: they add up exactly, whatever the order and the parts.

A sample is rounded to float16 first. A sum of float16 numbers has no rounding error in float64 (for taps, at most 1
each, up to half a billion samples), so count and total are the same bit for bit in any order. While there are fewer
samples than numbers in each, the samples themselves are kept, which takes less room than their scatter. From then on it
is the scatter around the class's own mean, joined by the pairwise update of Chan, Golub and LeVeque (1979).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from lightcl_edge.errors import DataError
from lightcl_edge.files.tensors import DoubleArray, FloatArray, Tensors

HalfArray = NDArray[np.float16]
AnyFloat = TypeVar("AnyFloat", np.float32, np.float64)
#: Samples and lines of the product that are computed at a time: a device has no room for a second matrix.
SAMPLE_BLOCK, _LINE_BLOCK = 256, 128
#: Damage, not samples: more images, or larger numbers, than any device meets.
_MOST_SAMPLES, _LARGEST = 2**53, 1e30


@dataclass(frozen=True, eq=False)
class ClassSums:
    """Sums over the taps of one class, ``size`` numbers a sample. Never changed: each operation gives new sums."""

    count: int  # of samples, at least 1
    total: DoubleArray  # sum of the samples, shape (size,)
    values: HalfArray  # the samples, shape (count, size), while count < size; else (0, size)
    #: Upper triangle, row by row, of the sum of ``(x - mean)(x - mean)^T``, from count = size on; else shape (0,).
    #: Of a pool (``shared_sums.py``) a class has neither samples nor triangle: the scatter is of all its classes.
    triangle: FloatArray

    @classmethod
    def of(cls, taps: FloatArray) -> ClassSums:
        """The sums of samples, shape ``(n, size)`` with n at least 1. DataError when one is not finite."""
        with np.errstate(over="ignore"):
            values = taps.astype(np.float16)
        if not len(values) or not np.isfinite(values).all():
            raise DataError(
                f"{len(values)} samples of a class gave taps with NaN, infinity or numbers beyond float16, or none at "
                "all; expected finite ones: check the images and verify the bundle"
            )
        count, size = values.shape
        total = values.sum(axis=0, dtype=np.float64)
        if count < size:
            return cls(count, total, values, np.empty(0, np.float32))
        triangle = np.zeros(triangle_size(size))
        _add_samples(triangle, values, total / count)
        return cls(count, total, values[:0].copy(), triangle.astype(np.float32))

    def read(self) -> ClassSums:
        """These sums: they are in memory already."""
        return self

    @property
    def size(self) -> int:
        """Numbers in a sample."""
        return len(self.total)

    @property
    def mean(self) -> DoubleArray:
        """The class mean, shape ``(size,)``."""
        return self.total / self.count

    def add(self, taps: FloatArray) -> ClassSums:
        """With more samples, shape ``(n, size)``. DataError when one is not finite."""
        return self.merge(ClassSums.of(taps)) if len(taps) else self

    def merge(self, other: ClassSums) -> ClassSums:
        """The sums of both classes' samples, which must be different ones."""
        if other.size != self.size:
            raise DataError(
                f"a sample has {other.size} taps, expected {self.size} as in earlier ones; verify the bundle"
            )
        count, total = self.count + other.count, self.total + other.total
        if count == len(self.values) + len(other.values) < self.size:
            return ClassSums(count, total, np.concatenate([self.values, other.values]), self.triangle)
        triangle = np.zeros(triangle_size(self.size))
        for part in (self, other):
            if len(part.triangle):
                triangle += part.triangle
            elif len(part.values) > 1:  # a single sample lies at its mean
                _add_samples(triangle, part.values, part.mean)
        apart = (self.mean - other.mean)[None]
        apart *= np.sqrt(self.count / count * other.count)
        _add_to_triangle(triangle, apart)
        return ClassSums(count, total, np.empty((0, self.size), np.float16), triangle.astype(np.float32))

    def scatter(self) -> DoubleArray:
        """Sum over samples of ``(x - mean)(x - mean)^T``, shape ``(size, size)``."""
        square = np.zeros((self.size, self.size))
        if len(self.values):
            add_products(square, self.values - self.mean)
        complete(square, self.triangle if len(self.triangle) else None)
        return square

    def tensors(self) -> dict[str, NDArray[np.generic]]:
        """What to keep: only ``values``, or ``count``, ``total`` and ``triangle``; of a pool the first two."""
        if len(self.values):
            return {"values": self.values}
        kept: dict[str, NDArray[np.generic]] = {"count": np.array([self.count], np.int64), "total": self.total}
        return {**kept, "triangle": self.triangle} if len(self.triangle) else kept

    @classmethod
    def from_tensors(cls, tensors: Tensors, size: int, of_pool: bool = False) -> ClassSums:
        """The sums of :meth:`tensors`; ValueError when they are no sums of samples of ``size`` numbers."""
        if of_pool:
            return _from_totals(tensors, size)
        if set(tensors) == {"values"}:
            values = tensors["values"]
            if values.dtype != np.float16 or values.ndim != 2 or not 0 < len(values) < values.shape[1] == size:
                raise ValueError(f"values is {values.dtype} {values.shape}, expected float16 (1 to {size - 1}, {size})")
            halves: HalfArray = values.astype(np.float16, copy=False)
            total = halves.sum(axis=0, dtype=np.float64)
            if not np.isfinite(total).all():
                raise ValueError("values holds NaN or infinity, expected finite numbers")
            return cls(len(halves), total, halves, np.empty(0, np.float32))
        return _from_scatter(tensors, size)


def _from_totals(tensors: Tensors, size: int) -> ClassSums:
    _check_kinds(tensors, {"count": (np.int64, (1,)), "total": (np.float64, (size,))})
    count, total = int(tensors["count"][0].item()), tensors["total"].astype(np.float64, copy=False)
    if not 0 < count < _MOST_SAMPLES or not bool((np.abs(total) < _LARGEST).all()):
        raise ValueError(f"count is {count}, and total may hold NaN or infinity; expected samples and finite numbers")
    return ClassSums(count, total, np.empty((0, size), np.float16), np.empty(0, np.float32))


def _check_kinds(tensors: Tensors, kinds: Mapping[str, tuple[type[np.generic], tuple[int, ...]]]) -> None:
    if set(tensors) != set(kinds):
        raise ValueError(
            f"it holds {[name[:80] for name in sorted(tensors)][:9]}, expected {sorted(kinds)} or ['values']"
        )
    for name, (kind, shape) in kinds.items():
        found = tensors[name]
        if found.dtype != kind or found.shape != shape:
            raise ValueError(f"{name} is {found.dtype} {found.shape}, expected {np.dtype(kind)} {shape}")


def _from_scatter(tensors: Tensors, size: int) -> ClassSums:
    _check_kinds(
        tensors,
        {
            "count": (np.int64, (1,)),
            "total": (np.float64, (size,)),
            "triangle": (np.float32, (triangle_size(size),)),
        },
    )
    count = int(tensors["count"][0].item())
    total = tensors["total"].astype(np.float64, copy=False)
    triangle = tensors["triangle"].astype(np.float32, copy=False)
    if not size <= count < _MOST_SAMPLES:
        raise ValueError(f"count is {count}, expected at least {size} samples")
    for name, numbers in (("total", total), ("triangle", triangle)):
        if not bool((np.abs(numbers) < _LARGEST).all()):  # NaN is not below either
            raise ValueError(f"{name} holds NaN, infinity or numbers beyond {_LARGEST:g}, expected finite ones")
    lengths = np.arange(size, 0, -1)
    if (triangle[np.cumsum(lengths) - lengths] < 0).any():  # the diagonal
        raise ValueError("triangle has a negative variance, expected a scatter")
    return ClassSums(count, total, np.empty((0, size), np.float16), triangle)


def triangle_size(size: int) -> int:
    """How many numbers the upper triangle of a matrix ``(size, size)`` has."""
    return size * (size + 1) // 2


def _lines(size: int) -> Iterator[tuple[int, int]]:
    """Where each row of a matrix begins and ends in its packed upper triangle."""
    start = 0
    for row in range(size):
        yield start, start + size - row
        start += size - row


def _products(rows: NDArray[AnyFloat]) -> Iterator[tuple[int, NDArray[AnyFloat]]]:
    """Upper part of ``rows^T rows``, some lines at a time: the first line, and a product ``(lines, size - first)``."""
    for first in range(0, rows.shape[1], _LINE_BLOCK):
        yield first, rows[:, first : first + _LINE_BLOCK].T @ rows[:, first:]


def _add_to_triangle(triangle: DoubleArray, rows: DoubleArray) -> None:
    lines = list(_lines(rows.shape[1]))
    for first, product in _products(rows):
        for row, line in enumerate(product, first):
            start, end = lines[row]
            triangle[start:end] += line[row - first :]


def _add_samples(triangle: DoubleArray, values: HalfArray, mean: DoubleArray) -> None:
    for at in range(0, len(values), SAMPLE_BLOCK):
        _add_to_triangle(triangle, values[at : at + SAMPLE_BLOCK] - mean)


def add_products(square: DoubleArray, rows: NDArray[AnyFloat]) -> None:
    """Add ``rows^T rows``, in the rows' own precision, to the upper half of a matrix; see :func:`complete`."""
    for first, product in _products(rows):
        square[first : first + len(product), first:] += product


def complete(square: DoubleArray, triangle: FloatArray | DoubleArray | None = None) -> None:
    """Add a packed triangle to a matrix's upper half, and copy that half to the lower."""
    for row, (start, end) in enumerate(_lines(len(square))):
        if triangle is not None:
            square[row, row:] += triangle[start:end]
        square[row:, row] = square[row, row:]
