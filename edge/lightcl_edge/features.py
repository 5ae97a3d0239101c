"""Features as uint8 (affine), and the on-disk store of one task's features."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lightcl_edge.errors import StateError
from lightcl_edge.manifest import FeatureInfo

FloatArray = NDArray[np.float32]
ByteArray = NDArray[np.uint8]


class FeatureCodec:
    """Turns float features into bytes and back: ``real = (stored - zero_point) * scale``.

    Args:
        info: shape, scales and zero points (one, or one a channel).
    """

    def __init__(self, info: FeatureInfo) -> None:
        self.shape = tuple(info.shape)
        sides = (-1,) + (1,) * (len(self.shape) - 1)
        self._scale = np.asarray(info.scale, np.float32).reshape(sides)
        self._zero_point = np.asarray(info.zero_point, np.float32).reshape(sides)

    @property
    def bytes_per_sample(self) -> int:
        """Size of one stored feature."""
        return int(np.prod(self.shape))

    def encode(self, features: FloatArray) -> ByteArray:
        """Round to the nearest step and clip to 0..255; shape ``(n, *shape)`` stays."""
        stored = features / self._scale
        stored += self._zero_point
        np.rint(stored, out=stored)
        np.clip(stored, 0, 255, out=stored)
        return stored.astype(np.uint8)

    def decode(self, stored: ByteArray) -> FloatArray:
        """The real values of stored bytes; shape ``(n, *shape)`` stays."""
        real = stored.astype(np.float32)
        real -= self._zero_point
        real *= self._scale
        return real


class FeatureStore:
    """The features and labels of one task, memory-mapped: the file's pages are the kernel's to drop.

    Layout in ``folder``: ``features.u8`` (``n`` times ``prod(shape)`` bytes), ``labels.i64`` (little-endian),
    ``store.json`` (key, count), written last: a store without it is not complete.
    """

    def __init__(self, folder: Path, shape: tuple[int, ...], count: int) -> None:
        self.folder, self.shape, self.count = folder, shape, count
        # Read, not mapped: pages of a mapped file stay in the process until it is closed, in the end the whole store.
        self._file = (folder / "features.u8").open("rb", buffering=0)
        self.labels = np.fromfile(folder / "labels.i64", "<i8", count).astype(np.int64)

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
                raise StateError(f"{self._file.name} is shorter than its {self.count} features; train again")
        return found

    @classmethod
    def open(cls, folder: Path, shape: tuple[int, ...], key: str) -> FeatureStore | None:
        """The complete store made under ``key``, or None when there is none."""
        try:
            note = json.loads((folder / "store.json").read_text())
            sizes = (folder / "features.u8").stat().st_size, (folder / "labels.i64").stat().st_size
            count = int(note["count"])
        except (OSError, ValueError, KeyError, TypeError):
            return None
        whole = sizes == (count * int(np.prod(shape)), count * 8)
        return cls(folder, shape, count) if note.get("key") == key and count > 0 and whole else None


class FeatureStoreWriter:
    """Fills a store batch by batch, in constant memory.

    Args:
        folder: where; made if missing.
        shape: of one feature.
        key: what the features were made from; :meth:`FeatureStore.open` asks for the same.
    """

    def __init__(self, folder: Path, shape: tuple[int, ...], key: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "store.json").unlink(missing_ok=True)
        self._folder, self._shape, self._key = folder, shape, key
        self._features = (folder / "features.u8").open("wb")
        self.labels: list[int] = []
        self.bytes_written = 0

    def append(self, stored: ByteArray, labels: NDArray[np.int64]) -> None:
        """Add a batch of shape ``(n, *shape)`` and its labels."""
        if stored.shape[1:] != self._shape or len(stored) != len(labels):
            raise StateError(f"feature batch of shape {stored.shape}, expected (n, {self._shape}) and a label each")
        self._features.write(stored.tobytes())
        self.labels += labels.tolist()

    def finish(self) -> FeatureStore:
        """Make the store durable and open it for reading."""
        self._features.flush()
        os.fsync(self._features.fileno())
        self._features.close()
        (self._folder / "labels.i64").write_bytes(np.asarray(self.labels, "<i8").tobytes())
        note = json.dumps({"key": self._key, "count": len(self.labels), "shape": list(self._shape)})
        (self._folder / "store.json").write_text(note)
        self.bytes_written = sum(p.stat().st_size for p in self._folder.iterdir())
        return FeatureStore(self._folder, self._shape, len(self.labels))

    def abandon(self) -> None:
        """Close without finishing; the next writer starts afresh."""
        self._features.close()
