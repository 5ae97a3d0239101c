"""A pool: what many boards taught, as one sum. It takes less room than their files, and nobody can tell them apart.

A file like a knowledge file. Its record also names the boards and which version of each is in the sum. Its tensors are
``totals``, float64 ``(k, D)``, of the classes in the order of their names, and ``triangle`` of the scatter of all.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np

from lightcl_edge.bundle.graph_names import WEIGHT
from lightcl_edge.data.class_sums import ClassSums, triangle_size
from lightcl_edge.data.shared_sums import Pool
from lightcl_edge.errors import DataError, LightclError
from lightcl_edge.files.records import Check, between
from lightcl_edge.files.tensors import DoubleArray, FloatArray, TensorFile
from lightcl_edge.fleet.knowledge import LARGEST_TAP, Knowledge
from lightcl_edge.fleet.moments import Moments
from lightcl_edge.fleet.recorded_file import (
    MAX_BOARDS,
    MAX_IMAGES,
    RECORD,
    SIGNATURE,
    Record,
    RecordedFile,
    hash_of,
    write_recorded,
)
from lightcl_edge.state.board import MAX_VERSION, is_board_name

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

_ARE_BOARDS = Check(
    lambda counted: len(counted) <= MAX_BOARDS and all(map(is_board_name, counted)), f"at most {MAX_BOARDS:,} boards"
)
_TOTALS, _TRIANGLE = "totals", "triangle"


@dataclass(frozen=True)
class PoolRecord(Record):
    """What a pool says of itself; ``board`` is its own name."""

    images: dict[str, Annotated[int, between(1, MAX_IMAGES * MAX_BOARDS)]]
    counted: Annotated[  # the version of each board that is in the sum
        dict[str, Annotated[int, between(1, MAX_VERSION)]], _ARE_BOARDS
    ]


@dataclass(frozen=True)
class _Triangle:
    """A scatter in memory."""

    numbers: FloatArray

    def read(self) -> FloatArray:
        return self.numbers


class PoolFile(RecordedFile):
    """A pool in a file. Nothing of it is believed before :meth:`check`."""

    kind = PoolRecord
    record: PoolRecord

    def check(self, network: str, size: int, key: str | None) -> None:
        """Check all that the file holds. Arguments and errors are those of ``check_origin``.

        Raises:
            DataError: when its sums are no sums of samples.
        """
        self.check_origin(network, size, key)
        if set(self.kinds()) - {RECORD, SIGNATURE} != {_TOTALS, _TRIANGLE}:
            raise DataError(
                f"its tensors are {sorted(self.kinds())[:5]}, expected {_TOTALS} and {_TRIANGLE}; copy it again"
            )
        try:
            totals, triangle = self._read()
        except (ValueError, LightclError) as error:
            raise DataError(f"its sums can't be used: {error}") from error
        most = LARGEST_TAP * np.array([self.record.images[name] for name in sorted(self.record.images)])[:, None]
        if not (np.abs(totals) <= most).all() or not (np.abs(triangle) <= LARGEST_TAP * most.sum()).all():
            raise DataError(f"its sums are larger than {self.record.images} samples can have, or no numbers")
        lengths = np.arange(size, 0, -1)
        if (triangle[np.cumsum(lengths) - lengths] < 0).any():  # the diagonal
            raise DataError("its scatter has a negative variance")

    def _read(self) -> tuple[DoubleArray, FloatArray]:
        record = self.record
        found = []
        for name, kind, shape in (
            (_TOTALS, np.float64, (len(record.images), record.size)),
            (_TRIANGLE, np.float32, (triangle_size(record.size),)),
        ):
            tensor = self.tensor(name)
            if tensor.dtype != kind or tensor.shape != shape:
                raise ValueError(f"{name} is {tensor.dtype} {tensor.shape}, expected {np.dtype(kind)} {shape}")
            found.append(tensor)
        return found[0].astype(np.float64, copy=False), found[1].astype(np.float32, copy=False)

    def moments(self) -> Moments:
        """What all its boards taught."""
        totals, triangle = self._read()
        by_class = dict(zip(sorted(self.record.images), totals, strict=True))
        return Moments.of_scatter({name: self.record.images[name] for name in by_class}, by_class, triangle)

    def without(self, own: Moments) -> tuple[Mapping[str, ClassSums], Pool]:
        """What the other boards taught: classes of a pool, and the pool.

        Args:
            own: what the reading board's version that is counted had taught, without the classes erased since.

        Raises:
            DataError: when the pool does not hold that.
        """
        try:
            others = Moments.none(self.record.size).plus(self.moments().minus(own))
        except ValueError as error:
            raise DataError(f"it does not hold what this board taught: {error}") from error
        nothing = np.empty((0, others.size), np.float16), np.empty(0, np.float32)
        taught = {name: ClassSums(count, others.totals[name], *nothing) for name, count in others.counts.items()}
        images = max(1, sum(others.counts.values()))
        return taught, Pool(self.record.counted, images, _Triangle(others.triangle()))


def open_shared(path: Path) -> Knowledge | PoolFile:
    """A file that ``merge`` reads; DataError when it is none."""
    names = TensorFile(path, DataError)
    if WEIGHT in names:
        raise DataError(f"{path} is a head; merge it alone")
    return PoolFile(path) if _TRIANGLE in names else Knowledge(path)


def write_pool(
    out: Path, record: PoolRecord, moments: Moments, before: PoolRecord | None, key: Ed25519PrivateKey | None
) -> PoolRecord:
    """Write a pool; gives the record that was written.

    Args:
        record: without what the moments tell. Its version is that of ``before``, or one more when the content differs.
    """
    names = sorted(moments.counts)
    totals = np.array([moments.totals[name] for name in names]).reshape(-1, moments.size)
    tensors = {_TOTALS: totals, _TRIANGLE: moments.triangle()}
    hashes = {name: hash_of(tensor) for name, tensor in tensors.items()}
    record = replace(record, images=dict(moments.counts), tensors=hashes)
    if before is not None:
        record = replace(record, version=before.version + (record.digest != before.digest))
    write_recorded(out, record, tensors, key)
    return record
