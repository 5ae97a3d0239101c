"""A knowledge file: what one board taught, for others. The format is in ``docs/reference/knowledge.md``.

Its tensors are the sums of each class.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from lightcl_edge.bundle.bundle import HEAD, HEAD_PARAMETERS, TRUNK, Bundle
from lightcl_edge.data.class_sums import ClassSums
from lightcl_edge.data.shared_sums import KnownSums
from lightcl_edge.errors import DataError, LightclError
from lightcl_edge.fleet.recorded_file import RECORD, SIGNATURE, RecordedFile
from lightcl_edge.state.sums_files import class_hash

#: The largest number of a tap: each part of the taps has length 1, and float16 rounds.
LARGEST_TAP = 1.01


def network_hash(bundle: Bundle) -> str:
    """SHA-256 over everything that makes taps of an image: only sums of equal taps add up."""
    manifest = bundle.manifest
    about = {
        "files": [bundle.sha256(name) for name in (TRUNK, HEAD, HEAD_PARAMETERS)],
        "input": asdict(manifest.input),
        "feature": asdict(manifest.feature),
        "taps": [asdict(tap) for tap in manifest.head.taps],
    }
    return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()


def tensors_of(taught: Mapping[str, KnownSums]) -> dict[str, NDArray[np.generic]]:
    """The tensors of classes, by ``HASH.NAME``."""
    return {
        f"{class_hash(name)}.{part}": tensor
        for name, known in taught.items()
        for part, tensor in known.read().tensors().items()
    }


class Knowledge(RecordedFile):
    """What one board taught, read a class at a time. Nothing of it is believed before :meth:`check`."""

    def check(self, network: str, size: int, key: str | None) -> None:
        """Check all that the file holds, one class at a time. Arguments and errors are those of ``check_origin``.

        Raises:
            DataError: when its sums are no sums of samples.
        """
        self.check_origin(network, size, key)
        known = {f"{class_hash(name)}.{part}" for name in self.record.images for part in _PARTS}
        extra = set(self._file) - {RECORD, SIGNATURE} - (known & set(self.record.tensors))
        if extra or set(self.record.tensors) - set(self._file):
            raise DataError(f"its record and its tensors differ ({sorted(extra)[:2]}); copy it again")
        for shared in self.classes.values():
            shared.read()

    @cached_property
    def classes(self) -> dict[str, KnownSums]:
        """The sums by class; each is read and checked when it is asked for."""
        return {name: _FileSums(self, name, count) for name, count in self.record.images.items()}

    def sums_of(self, name: str, count: int) -> ClassSums:
        """The sums of a class, or a DataError that says what is wrong with them."""
        size, prefix = self.record.size, f"{class_hash(name)}."
        try:
            found = {part: self.tensor(prefix + part) for part in _PARTS if prefix + part in self._file}
            sums = ClassSums.from_tensors(found, size)
            if sums.count != count:
                raise ValueError(f"they are of {sums.count} images, expected {count}")
            _refuse_impossible(sums)
        except (ValueError, LightclError) as error:
            raise DataError(f"its sums of class {name!r} can't be used: {error}") from error
        return sums


_PARTS = ("values", "count", "total", "triangle")


@dataclass(frozen=True)
class _FileSums:
    """A class's sums in a knowledge file."""

    file: Knowledge
    name: str
    count: int

    def read(self) -> ClassSums:
        return self.file.sums_of(self.name, self.count)


def _refuse_impossible(sums: ClassSums) -> None:
    """ValueError for sums that no taps have: each number of a tap is at most ``LARGEST_TAP``."""
    if float(np.abs(sums.values.astype(np.float32)).max(initial=0.0)) > LARGEST_TAP:
        raise ValueError(f"a sample has a number above {LARGEST_TAP}")
    if float(np.abs(sums.total).max()) > LARGEST_TAP * sums.count:
        raise ValueError(f"their total is larger than {sums.count} samples can have")
    if float(np.abs(sums.triangle).max(initial=0.0)) > LARGEST_TAP**2 * sums.count:
        raise ValueError(f"their scatter is larger than {sums.count} samples can have")
