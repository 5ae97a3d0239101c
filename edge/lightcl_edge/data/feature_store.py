"""The on-disk store of one task's features."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from lightcl_edge.data.uint8_codec import FeatureCodec
from lightcl_edge.errors import StateError
from lightcl_edge.files.durable import DurableFile, fsync_folder, make_folders, remove, replace_durably, write_durably
from lightcl_edge.files.plain import open_plain, sha256_of
from lightcl_edge.files.strict_json import read_json
from lightcl_edge.files.tensors import ByteArray, FloatArray, IntArray


class FeatureStore:
    """The features and labels of one task.

    Layout in ``folder``: ``features.u8`` (``n`` times ``prod(shape)`` bytes), ``labels.i64`` and ``marks.u64``
    (little-endian). ``store.json`` (key, count, hashes, faults of skipped images) is written last: a store without it
    is not complete. Marks are those of :class:`lightcl_edge.data.dataset.DatasetIdentity`.
    """

    def __init__(self, folder: Path, shape: tuple[int, ...], count: int, skipped: Sequence[str] = ()) -> None:
        self.folder, self.shape, self.count, self.skipped = folder, shape, count, list(skipped)
        # Read, not mapped: pages of a mapped file count as this process's memory until it is closed.
        self._file = open_plain(folder / "features.u8")
        self.labels = np.fromfile(folder / "labels.i64", "<i8", count).astype(np.int64)
        self.marks = np.fromfile(folder / "marks.u64", "<u8", count).astype(np.uint64)

    def __len__(self) -> int:
        return self.count

    def read(self, rows: NDArray[np.int64]) -> ByteArray:
        """The stored features at ``rows``, shape ``(len(rows), *shape)``."""
        found = np.empty((len(rows), *self.shape), np.uint8)
        size = int(np.prod(self.shape))
        for row, place in zip(rows, found, strict=True):
            if not 0 <= row < self.count:
                raise IndexError(f"row {row} of {self.count} stored features")
            if os.preadv(self._file.fileno(), [place], int(row) * size) != size:
                raise StateError(
                    f"{self.folder / 'features.u8'} is shorter than its {self.count} features; train again"
                )
        return found

    @classmethod
    def open(cls, folder: Path, shape: tuple[int, ...], key: str) -> FeatureStore | None:
        """The complete store made under ``key``, or None when there is none."""
        try:
            note = read_json(folder / "store.json")
            count, skipped = note["count"], note["skipped"]
            if note["key"] != key or type(count) is not int or count < 1 or not _all_text(skipped):
                return None
            sizes = {"features.u8": count * int(np.prod(shape)), "labels.i64": count * 8, "marks.u64": count * 8}
            for name, size in sizes.items():
                if (folder / name).stat().st_size != size or sha256_of(folder / name) != note["sha256"][name]:
                    return None
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return cls(folder, shape, count, skipped)


@dataclass(frozen=True)
class FeaturesInMemory:
    """The features and labels of a task so small that computing them again costs less than keeping them on the disk.

    Attributes:
        features: as they would be stored, shape ``(n, *feature_shape)``.
        labels: shape ``(n,)``.
        marks: as in a :class:`FeatureStore`, shape ``(n,)``.
    """

    features: ByteArray
    labels: IntArray
    marks: NDArray[np.uint64]

    def read(self, rows: IntArray) -> ByteArray:
        """The features at ``rows``, shape ``(len(rows), *feature_shape)``."""
        return self.features[rows]


def _all_text(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


class Stored(Protocol):
    """Where quantised features are read from."""

    def read(self, rows: IntArray, /) -> ByteArray:
        """The stored features at ``rows``, shape ``(len(rows), *feature_shape)``."""


@dataclass(frozen=True)
class Samples:
    """The part of a task's store that is trained on.

    Attributes:
        labels: of every sample in the store, rows of the classifier, shape ``(n,)``.
        rows: positions to train on, shape ``(k,)``.
    """

    store: Stored
    codec: FeatureCodec
    labels: IntArray
    rows: IntArray

    def read(self, rows: IntArray) -> FloatArray:
        """Float features, shape ``(len(rows), *feature_shape)``."""
        return self.codec.decode(self.store.read(rows))


class FeatureStoreWriter:
    """Fills a store batch by batch."""

    def __init__(self, folder: Path, shape: tuple[int, ...], key: str) -> None:
        make_folders(folder)
        remove(folder / "store.json")
        self._folder, self._shape, self._key = folder, shape, key
        self._digest = hashlib.sha256()
        self._features = DurableFile(folder / "features.u8")
        self.labels: list[int] = []
        self._marks: list[int] = []

    def append(self, stored: ByteArray, labels: Sequence[int], marks: Sequence[int]) -> None:
        """Add a batch of shape ``(n, *shape)``, its labels and marks."""
        if stored.shape[1:] != self._shape or not len(stored) == len(labels) == len(marks):
            raise StateError(f"feature batch of shape {stored.shape}, expected (n, {self._shape}) and a label each")
        data = stored.tobytes()
        self._features.write(data)
        self._digest.update(data)
        self.labels += labels
        self._marks += marks

    def finish(self, skipped: Sequence[str] = ()) -> FeatureStore:
        """Make the store durable and open it for reading; ``skipped`` names the fault of each skipped image."""
        self._features.sync()
        self._features.close()
        hashes = {"features.u8": self._digest.hexdigest()}
        for name, values in {"labels.i64": self.labels, "marks.u64": self._marks}.items():
            data = np.asarray(values, f"<{name[-3]}8").tobytes()
            hashes[name] = write_durably(self._folder / name, data)
        fsync_folder(self._folder)
        note = {"key": self._key, "count": len(self.labels), "skipped": list(skipped), "sha256": hashes}
        replace_durably(self._folder / "store.json", json.dumps(note).encode())
        return FeatureStore(self._folder, self._shape, len(self.labels), skipped)

    def abandon(self) -> None:
        """Close without finishing and free the disk space."""
        with suppress(OSError):
            self._features.close()
        with suppress(OSError):
            remove(self._folder / "features.u8")
