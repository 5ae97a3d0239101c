"""A head in a file: what one board trained, or the average of many."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np

from lightcl_edge.bundle.graph_names import BIAS, WEIGHT
from lightcl_edge.bundle.manifest import HeadInfo
from lightcl_edge.errors import BundleError, DataError, LightclError
from lightcl_edge.files.records import DIFFERENT, between
from lightcl_edge.files.tensors import FloatArray, Parameters, TensorFile, check_parameters
from lightcl_edge.fleet.recorded_file import (
    FORMAT,
    MAX_BOARDS,
    MAX_IMAGES,
    RECORD,
    SIGNATURE,
    Record,
    RecordedFile,
    hash_of,
    write_recorded,
)
from lightcl_edge.state.sums_files import class_hash

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey


@dataclass(frozen=True)
class HeadRecord(Record):
    """What a head says of itself; ``images`` is empty, and ``version`` 1."""

    rows: Annotated[list[str], DIFFERENT]  # classes of the classifier's rows, in order of their names
    samples: Annotated[int, between(1, MAX_IMAGES * MAX_BOARDS)]  # that it was trained on, by all boards together


def is_head(path: Path) -> bool:
    """Whether a file holds a head."""
    try:
        return WEIGHT in TensorFile(path, DataError)
    except LightclError:  # whoever reads it next says what is wrong
        return False


class HeadFile(RecordedFile):
    """A head. Nothing of it is believed before :meth:`check`."""

    kind = HeadRecord
    record: HeadRecord

    def check(self, network: str, size: int, key: str | None, head: HeadInfo) -> None:
        """Check all that the file holds. Arguments and errors are those of ``check_origin``.

        Raises:
            DataError: when its parameters are not those of such a head.
        """
        self.check_origin(network, size, key)
        expected, found = _shapes(head, len(self.record.rows)), self.kinds()
        wanted = {name: ("F32", shape) for name, shape in expected.items()}
        if {name: found[name] for name in found if name not in (RECORD, SIGNATURE)} != wanted:
            raise DataError(f"its tensors are not those of this head with {len(self.record.rows)} classes")
        if self.record.rows != sorted(self.record.rows) or not 0 < len(self.record.rows) <= head.capacity:
            raise DataError(f"it has rows of {self.record.rows[:4]}, expected 1 to {head.capacity} in order")
        try:
            tensors = self.parameters()
            check_parameters(tensors, expected, str(self.path))
        except BundleError as error:
            raise DataError(f"its parameters can't be used: {error}") from error
        if any(hash_of(tensor) != self.record.tensors.get(name) for name, tensor in tensors.items()):
            raise DataError("the hash of a tensor differs; copy the file again")

    def refuse_erased(self, erased: Mapping[str, int]) -> None:
        """DataError when it was trained on a class before an erasure that it did not know of."""
        for name in self.record.rows:
            if self.record.erased.get(class_hash(name), 0) < erased.get(class_hash(name), 0):
                raise DataError(f"it was trained before {name!r} was erased; the next one comes without it")

    def parameters(self) -> dict[str, FloatArray]:
        """All tensors, those of the classifier with a row for each of ``rows``."""
        return {name: self[name] for name in self.kinds() if name not in (RECORD, SIGNATURE)}

    def parameters_of(self, classes: Sequence[str], capacity: int) -> dict[str, FloatArray]:
        """The parameters for a classifier whose rows are in this order.

        Raises:
            DataError: when it has rows of other classes.
        """
        if sorted(classes) != self.record.rows:
            raise DataError(f"its rows are of {self.record.rows[:4]}, expected {sorted(classes)[:4]}; merge first")
        found = self.parameters()
        places = [self.record.rows.index(name) for name in classes]
        for name in (WEIGHT, BIAS):
            rows = np.zeros((capacity, *found[name].shape[1:]), np.float32)
            rows[: len(places)] = found[name][places]
            found[name] = rows
        return found


def write_head(
    out: Path,
    about: HeadRecord,
    parameters: Parameters,
    classes: Sequence[str],
    key: Ed25519PrivateKey | None,
) -> int:
    """Write a head whose classifier has rows of ``classes``, in their order; gives the file's bytes."""
    order = np.argsort(np.array(classes))
    tensors = {name: np.asarray(parameters[name]) for name in parameters}
    tensors |= {name: tensors[name][: len(classes)][order] for name in (WEIGHT, BIAS)}
    return write_recorded(out, with_tensors(about, tensors, sorted(classes)), tensors, key)


def with_tensors(about: HeadRecord, tensors: Parameters, rows: Sequence[str]) -> HeadRecord:
    """The record of these tensors."""
    hashes = {name: hash_of(tensor) for name, tensor in tensors.items()}
    return HeadRecord(**{**vars(about), "rows": list(rows), "tensors": hashes})


def head_record(board: str, network: str, size: int, samples: int, erased: Mapping[str, int]) -> HeadRecord:
    """A record without what the tensors tell."""
    return HeadRecord(FORMAT, board, 1, network, size, {}, dict(erased), {}, [], samples)


def _shapes(head: HeadInfo, rows: int) -> dict[str, tuple[int, ...]]:
    shapes = {each.name: tuple(each.shape) for each in head.parameters}
    return shapes | {name: (rows, *shapes[name][1:]) for name in (WEIGHT, BIAS)}
