"""Safetensors files whose tensor ``record`` is JSON with the hash of every other, and whose ``signature`` signs it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
from numpy.typing import NDArray

from lightcl_edge.bundle.manifest import MAX_CLASSES
from lightcl_edge.bundle.signature import MAX_SIGNATURE_BYTES, Seal
from lightcl_edge.data.class_names import class_name_fault
from lightcl_edge.data.class_sums import triangle_size
from lightcl_edge.errors import DataError, MixedBundleError
from lightcl_edge.files.durable import fsync_folder, rename
from lightcl_edge.files.records import Check, between, hexadecimal, read_record
from lightcl_edge.files.strict_json import parse_json
from lightcl_edge.files.tensors import FloatArray, TensorFile, Tensors, write_tensors
from lightcl_edge.state.board import MAX_VERSION, BoardName, Erased

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

FORMAT = 1
RECORD, SIGNATURE = "record", "signature"
MAX_RECORD_BYTES = 8 * 2**20
#: Images of one class; more are a lie.
MAX_IMAGES = 10_000_000
#: Boards in a pool.
MAX_BOARDS = 10_000
SEAL = Seal(b"lightcl knowledge signature, version 1\n", "knowledge file")
_IS_KNOWN = Check(lambda number: number == FORMAT, f"{FORMAT}; other formats need another lightcl-edge")
_SHA256 = hexadecimal(64)


@dataclass(frozen=True)
class Record:
    """What a file says of itself."""

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
        about = {key: value for key, value in asdict(self).items() if key not in ("format", "board", "version", "size")}
        return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()


def hash_of(tensor: NDArray[np.generic]) -> str:
    return hashlib.sha256(np.ascontiguousarray(tensor).tobytes()).hexdigest()


def write_recorded(out: Path, record: Record, tensors: Tensors, key: Ed25519PrivateKey | None) -> int:
    """Write a file, whole or not at all; gives its size in bytes."""
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


class RecordedFile:
    """A file whose tensors are read one at a time. Nothing of it is believed before :meth:`check_origin`.

    Raises:
        DataError: when the file is none of these or damaged.
    """

    kind: type[Record] = Record

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = TensorFile(path, DataError)
        self.text = self._bytes(RECORD, MAX_RECORD_BYTES)
        try:
            self.record = read_record(
                self.kind, parse_json(self.text), "", ValueError, "a record of lightcl-edge share"
            )
            if len(self.record.images) > MAX_CLASSES or any(map(class_name_fault, self.record.images)):
                raise ValueError(f"it names classes, expected at most {MAX_CLASSES} with printable names")
        except ValueError as error:
            raise DataError(f"{path} is no knowledge file ({error}); make one with lightcl-edge share") from error

    def kinds(self) -> dict[str, tuple[str, tuple[int, ...]]]:
        """Type and shape of all tensors, unread."""
        return self._file.kinds()

    def __getitem__(self, name: str) -> FloatArray:
        """A tensor, unchecked."""
        return self._file[name]

    def _bytes(self, name: str, limit_bytes: int) -> bytes:
        kind, shape = self._file.kinds().get(name, ("", ()))
        if kind != "U8" or len(shape) != 1 or shape[0] > limit_bytes:
            raise DataError(
                f"{self.path} is no knowledge file ({name} is {kind or 'missing'} {shape}, expected at most "
                f"{limit_bytes} bytes); make one with lightcl-edge share"
            )
        return self._file[name].tobytes()

    def check_origin(self, network: str, size: int, key: str | None) -> None:
        """Check whose the file is and what it belongs to.

        Args:
            network: of the state, from :func:`network_hash`.
            size: numbers in a sample.
            key: public key that must have signed it, hexadecimal; None for no matter who.

        Raises:
            SignatureError: when it is not signed by that key.
            MixedBundleError: when it belongs to another network.
            DataError: when its samples have another size.
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

    def tensor(self, name: str) -> NDArray[np.generic]:
        """A tensor whose size and hash fit; ValueError for any other."""
        kind, shape = self._file.kinds()[name]
        most = max(2 * triangle_size(self.record.size), len(self.record.images) * self.record.size)
        if int(np.prod([1, *shape], dtype=np.float64)) > most:
            raise ValueError(f"{name} is {kind} {shape}, expected at most {most} numbers")
        tensor = self._file[name]
        if hash_of(tensor) != self.record.tensors.get(name):
            raise ValueError(f"the hash of {name} differs; copy the file again")
        return tensor
