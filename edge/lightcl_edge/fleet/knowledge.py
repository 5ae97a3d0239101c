"""A knowledge file: what one board taught, for others. The format is in ``docs/reference/knowledge.md``.

A safetensors file with the sums of each class, and ``record``: JSON that names the board, its version, the network that
the sums belong to, and the hash of every other tensor. ``signature`` signs the record.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
from numpy.typing import NDArray

from lightcl_edge.bundle.bundle import HEAD, HEAD_PARAMETERS, TRUNK, Bundle
from lightcl_edge.bundle.manifest import MAX_CLASSES
from lightcl_edge.bundle.signature import MAX_SIGNATURE_BYTES, Seal
from lightcl_edge.data.class_names import class_name_fault
from lightcl_edge.data.class_sums import ClassSums, triangle_size
from lightcl_edge.data.shared_sums import KnownSums
from lightcl_edge.errors import DataError, LightclError, MixedBundleError
from lightcl_edge.files.durable import fsync_folder, rename
from lightcl_edge.files.records import Check, between, hexadecimal, read_record
from lightcl_edge.files.strict_json import parse_json
from lightcl_edge.files.tensors import TensorFile, Tensors, write_tensors
from lightcl_edge.state.board import MAX_VERSION, BoardName, Erased
from lightcl_edge.state.sums_files import class_hash

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

FORMAT = 1
RECORD, SIGNATURE = "record", "signature"
MAX_RECORD_BYTES = 8 * 2**20
#: Images of one class; more are a lie.
MAX_IMAGES = 10_000_000
#: The largest number of a tap: each part of the taps has length 1, and float16 rounds.
LARGEST_TAP = 1.01
SEAL = Seal(b"lightcl knowledge signature, version 1\n", "knowledge file")
_IS_KNOWN = Check(lambda number: number == FORMAT, f"{FORMAT}; other formats need another lightcl-edge")
_SHA256 = hexadecimal(64)


@dataclass(frozen=True)
class Record:
    """What a knowledge file says of itself."""

    format: Annotated[int, _IS_KNOWN]
    board: BoardName
    version: Annotated[int, between(1, MAX_VERSION)]
    network: Annotated[str, _SHA256]  # of what makes taps, see network_hash
    size: int  # numbers in a sample
    images: dict[str, Annotated[int, between(1, MAX_IMAGES)]]  # by class
    erased: Erased
    tensors: dict[str, Annotated[str, _SHA256]]  # of the others' bytes, by name

    @property
    def digest(self) -> str:
        """SHA-256 of what is shared, the same for another version with the same content."""
        about = {"network": self.network, "images": self.images, "erased": self.erased, "tensors": self.tensors}
        return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()


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


def hash_of(tensor: NDArray[np.generic]) -> str:
    return hashlib.sha256(np.ascontiguousarray(tensor).tobytes()).hexdigest()


def write_knowledge(out: Path, record: Record, tensors: Tensors, key: Ed25519PrivateKey | None) -> int:
    """Write a knowledge file, whole or not at all; gives its size in bytes."""
    text = json.dumps(asdict(record), sort_keys=True).encode()
    content = {**tensors, RECORD: np.frombuffer(text, np.uint8)}
    if key is not None:
        content[SIGNATURE] = np.frombuffer(SEAL.sign(text, key, record.version), np.uint8)
    aside = out.with_name(out.name + ".new")
    try:
        write_tensors(aside, content)
        rename(aside, out)
    finally:
        aside.unlink(missing_ok=True)
    fsync_folder(out.absolute().parent)
    return out.stat().st_size


class Knowledge:
    """A knowledge file that is read a class at a time. Nothing of it is believed before :meth:`check`.

    Raises:
        DataError: when the file is no knowledge file or damaged.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = TensorFile(path, DataError)
        self.text = self._bytes(RECORD, MAX_RECORD_BYTES)
        try:
            self.record = read_record(Record, parse_json(self.text), "", ValueError, "a record of lightcl-edge share")
            if len(self.record.images) > MAX_CLASSES or any(map(class_name_fault, self.record.images)):
                raise ValueError(f"it names classes, expected at most {MAX_CLASSES} with printable names")
        except ValueError as error:
            raise DataError(f"{path} is no knowledge file ({error}); make one with lightcl-edge share") from error

    def _bytes(self, name: str, limit_bytes: int) -> bytes:
        kind, shape = self._file.kinds().get(name, ("", ()))
        if kind != "U8" or len(shape) != 1 or shape[0] > limit_bytes:
            raise DataError(
                f"{self.path} is no knowledge file ({name} is {kind or 'missing'} {shape}, expected at most "
                f"{limit_bytes} bytes); make one with lightcl-edge share"
            )
        return self._file[name].tobytes()

    def check(self, network: str, size: int, key: str | None) -> None:
        """Check all that the file holds, one class at a time.

        Args:
            network: of the state, from :func:`network_hash`.
            size: numbers in a sample.
            key: public key that must have signed it, hexadecimal; None for no matter who.

        Raises:
            SignatureError: when it is not signed by that key.
            MixedBundleError: when it belongs to another network.
            DataError: when its sums are no sums of samples.
        """
        if key is not None:
            signed = SIGNATURE in self._file
            SEAL.check(self._bytes(SIGNATURE, MAX_SIGNATURE_BYTES) if signed else None, self.text, key)
        if self.record.network != network:
            raise MixedBundleError(
                f"it is of another network ({self.record.network[:12]}..., expected {network[:12]}...): trunk, head "
                "and taps must be those of this state's bundle"
            )
        if self.record.size != size:
            raise DataError(f"its samples have {self.record.size} numbers, expected {size}")
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
            found = {part: self._tensor(prefix + part) for part in _PARTS if prefix + part in self._file}
            sums = ClassSums.from_tensors(found, size)
            if sums.count != count:
                raise ValueError(f"they are of {sums.count} images, expected {count}")
            _refuse_impossible(sums)
        except (ValueError, LightclError) as error:
            raise DataError(f"its sums of class {name!r} can't be used: {error}") from error
        return sums

    def _tensor(self, name: str) -> NDArray[np.generic]:
        kind, shape = self._file.kinds()[name]
        if int(np.prod([1, *shape], dtype=np.float64)) > triangle_size(self.record.size) * 2:
            raise ValueError(f"{name} is {kind} {shape}, expected no more than a class's scatter")
        tensor = self._file[name]
        if hash_of(tensor) != self.record.tensors.get(name):
            raise ValueError(f"the hash of {name} differs; copy the file again")
        return tensor


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
