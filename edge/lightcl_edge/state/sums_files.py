"""``sums/`` of a generation: one file a class, named by the hash of the class's name.

Most classes stay as they are from one generation to the next. Their files are linked, so learning one image writes the
file of one class. A linked file must never be written to again.

Predictions need no sums. So a class's file is checked when a task, or ``history``, asks for it.
"""

from __future__ import annotations

import hashlib
import shlex
from dataclasses import dataclass
from pathlib import Path

from lightcl_edge.data.class_sums import ClassSums, triangle_size
from lightcl_edge.data.sums import KnownSums, Sums
from lightcl_edge.errors import StateError
from lightcl_edge.files.durable import fsync_folder, link_or_copy
from lightcl_edge.files.tensors import read_hashed_tensors, write_tensors
from lightcl_edge.state.generation import Meta

FOLDER = "sums"
_MOST_HEADER_BYTES = 4096


@dataclass(frozen=True)
class StoredSums:
    """A class's sums on the disk."""

    name: str  # of the class
    path: Path
    sha256: str
    count: int
    size: int

    def read(self) -> ClassSums:
        """Read and check the file, or raise a StateError when it is missing or damaged."""
        limit_bytes = 4 * triangle_size(self.size) + 8 * self.size + _MOST_HEADER_BYTES
        try:
            sums = ClassSums.from_tensors(
                read_hashed_tensors(self.path, self.sha256, limit_bytes, StateError), self.size
            )
            if sums.count != self.count:
                raise ValueError(f"it is of {sums.count} images, expected {self.count} as in the record")
        except (StateError, ValueError) as error:
            raise self._unusable(error) from error
        return sums

    def keep_in(self, path: Path) -> None:
        """Link or copy the file, unread, or raise a StateError when it is missing."""
        try:
            link_or_copy(self.path, path)
        except FileNotFoundError as error:
            raise self._unusable(error) from error

    def _unusable(self, error: Exception) -> StateError:
        state = shlex.quote(str(self.path.parents[3]))
        return StateError(
            f"the sums of class {self.name!r} can't be used: {error}; forget the class and teach it again "
            f"(lightcl-edge forget --state {state} --class {shlex.quote(self.name)}), or roll back to a "
            f"generation from before it was taught (lightcl-edge history --state {state})"
        )


def sums_file(name: str) -> str:
    """Where a class's sums lie in a generation's folder."""
    return f"{FOLDER}/{hashlib.sha256(name.encode()).hexdigest()[:32]}.safetensors"


def write_sums(folder: Path, sums: Sums) -> dict[str, str]:
    """Write and sync the files of all classes; gives their hashes by name."""
    hashes = {sums_file(name): _write(folder / sums_file(name), known) for name, known in sums.classes.items()}
    if hashes:
        fsync_folder(folder / FOLDER)
    return hashes


def _write(path: Path, known: KnownSums) -> str:
    if isinstance(known, StoredSums):
        known.keep_in(path)
        return known.sha256
    return write_tensors(path, known.read().tensors())


def stored_sums(folder: Path, meta: Meta, size: int) -> Sums:
    """The sums of a generation, none of them read yet."""
    counts = zip(meta.classes, meta.images_by_class, strict=True)
    files = {name: (sums_file(name), count) for name, count in counts if count}
    known = {
        name: StoredSums(name, folder / file, meta.files[file], count, size) for name, (file, count) in files.items()
    }
    return Sums(size, known)


def unusable_sums(sums: Sums) -> list[str]:
    """Names of the classes whose sums are damaged. Each is read in turn."""
    found = []
    for name, known in sums.classes.items():
        try:
            known.read()
        except StateError:
            found.append(name)
    return found


def check_sums(sums: Sums) -> None:
    """Read the sums of each class in turn, or raise a StateError for the first that is damaged."""
    for known in sums.classes.values():
        known.read()
