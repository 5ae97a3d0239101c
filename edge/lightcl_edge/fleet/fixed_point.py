"""Moments as one vector of whole numbers: such vectors can be masked, and their sum has no rounding error."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np

from lightcl_edge.files.records import between
from lightcl_edge.files.tensors import DoubleArray
from lightcl_edge.fleet.moments import Moments

#: Masks are numbers of 32 bits, and so must the sum be.
_SUM_BITS = 32
_UNIT = between(2.0**-100, 2.0**100)


@dataclass(frozen=True)
class Layout:
    """Where in the vector is what: counts, totals class by class, then the upper triangle of second moments.

    Attributes:
        bits: of each number; a number is smaller than half of ``2**bits``.
        total_unit: what one stands for in totals, ``second_unit`` in second moments. Both are powers of two.
    """

    classes: list[str]
    size: int
    bits: Annotated[int, between(2, _SUM_BITS - 1)]
    total_unit: Annotated[float, _UNIT]
    second_unit: Annotated[float, _UNIT]

    @classmethod
    def of(cls, classes: Sequence[str], size: int, boards: int, largest_total: float, largest_second: float) -> Layout:
        """The finest units in which the sum of so many boards' vectors stays below 32 bits."""
        bits = sum_bits(boards)
        return cls(list(classes), size, bits, _unit(largest_total, bits), _unit(largest_second, bits))

    def encode(self, moments: Moments) -> DoubleArray:
        """The vector. ValueError when a number is too large for it, or a class has no place."""
        if unplaced := set(moments.counts) - set(self.classes):
            raise ValueError(f"no place for class {min(unplaced)!r}")
        counts = np.array([moments.counts.get(name, 0) for name in self.classes], np.float64)
        totals = [moments.totals.get(name, np.zeros(self.size)) for name in self.classes]
        upper = moments.second[np.triu_indices(self.size)]
        numbers: DoubleArray = np.rint(
            np.concatenate([counts, *(each / self.total_unit for each in totals), upper / self.second_unit])
        )
        if not (np.abs(numbers) < 2 ** (self.bits - 1)).all():
            raise ValueError(f"a number needs more than {self.bits} bits")
        return numbers

    def decode(self, vector: DoubleArray) -> Moments:
        """The moments of a sum of vectors."""
        k = len(self.classes)
        counts, totals, upper = np.split(vector, [k, k + k * self.size])
        second = np.zeros((self.size, self.size))
        second[np.triu_indices(self.size)] = upper * self.second_unit
        second += np.triu(second, 1).T
        rows = totals.reshape(k, self.size) * self.total_unit
        present = [(row, name) for row, name in enumerate(self.classes) if counts[row] or rows[row].any()]
        return Moments(
            second, {name: int(counts[row]) for row, name in present}, {name: rows[row] for row, name in present}
        )


def largest(moments: Moments) -> tuple[float, float]:
    """The largest total and the largest second moment, as :meth:`Layout.of` needs them."""
    totals = [float(np.abs(each).max()) for each in moments.totals.values()]
    return max(totals, default=0.0), float(np.abs(moments.second).max())


def sum_bits(boards: int) -> int:
    """Of each number, when the sum of so many boards' stays below 32 bits."""
    return _SUM_BITS - boards.bit_length()


def _unit(most: float, bits: int) -> float:
    """The smallest power of two in which a number of this size has less than ``bits - 1`` bits."""
    return float(2.0 ** (np.floor(np.log2(max(most, 2.0**-40))) + 2 - bits))
