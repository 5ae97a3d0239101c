"""Frames that wait for a label: those from which the most can be learned, in a bounded space."""

import math
import re
import secrets
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np

from lightcl_edge.bundle.manifest import InputInfo
from lightcl_edge.data.decoding import decode, open_bytes
from lightcl_edge.errors import DataError, LightclError, StorageError
from lightcl_edge.files.durable import fsync_folder, make_folders, remove, rename
from lightcl_edge.files.tensors import ByteArray, FloatArray, read_tensors, write_tensors

Reason = Literal["unsure", "never seen", "near a change"]
_REASONS: tuple[Reason, ...] = ("unsure", "never seen", "near a change")

#: Frames whose features point so nearly the same way show the same (cosine). Measured on 72 photographs with taps of
#: three bundles: 94 to 97 % of pictures with noise, another brightness and a small shift are found, and 1 to 3 % of
#: those that show other things before the same background. Thumbnails find 72 % and mistake 7 % of the others.
NEAR_DUPLICATE = 0.85
#: Without features, a small grey picture stands for the frame.
NEAR_THUMBNAIL = 0.98
_THUMBNAIL = InputInfo(16, 16, "stretch", 1.0, "bilinear", [0.0] * 3, [1.0] * 3, "RGB")
_FILE_NAME = re.compile(r"([0-9a-f]{16})\.(safetensors|new)")
#: A file's header, and the objects that stand for a frame in memory.
_OVERHEAD_BYTES = 1024


def reason_to_wait(*, unsure: bool, never_seen: bool, changed: bool) -> Reason | None:
    """Why a frame's label would teach something; None when it would not."""
    return "never seen" if never_seen else "unsure" if unsure else "near a change" if changed else None


@dataclass(frozen=True)
class WaitingFrame:
    """A frame without its picture.

    Attributes:
        id: 16 hexadecimal digits.
        class_name: the most probable class, with its probability of 0 to 1; empty when nothing was learned yet.
        taken_at: seconds since 1970.
        direction: the features, or a grey thumbnail without its mean, of length 1; shape ``(n,)``.
    """

    id: str
    taken_at: float
    reason: Reason
    class_name: str
    probability: float
    size_bytes: int
    direction: FloatArray = field(repr=False, compare=False)


class WaitingFrames:
    """At most ``limit_bytes`` of frames. Any thread may call any method.

    A frame that shows nearly the same as one that waits already is not taken in, and one too soon after the last is not
    even looked at. So neither a still scene nor a lively one wears out a card. When the space is full, the oldest goes.

    Args:
        limit_bytes: of pictures, features and what belongs to them, in memory or on the disk.
        folder: frames in it survive the process; None keeps them in memory.
        pause_seconds: between two frames that are looked at.

    Raises StorageError when the folder can't be read or made.
    """

    def __init__(self, limit_bytes: int, folder: Path | None = None, pause_seconds: float = 1.0) -> None:
        self.limit_bytes, self._folder, self._pause = limit_bytes, folder, pause_seconds
        self._last_look = -math.inf
        self._lock = threading.Lock()
        self._frames: dict[str, WaitingFrame] = {}  # the oldest first
        self._pictures: dict[str, bytes] = {}  # empty when they are in the folder
        if folder is not None:
            with _storage(folder):
                self._read(folder)

    @property
    def used_bytes(self) -> int:
        """What the frames take."""
        return sum(frame.size_bytes for frame in self.items())

    def __len__(self) -> int:
        return len(self._frames)

    def items(self) -> list[WaitingFrame]:
        """All frames, the newest first."""
        with self._lock:
            return list(reversed(self._frames.values()))

    def get(self, id: str) -> bytes | None:
        """A frame's picture, a JPEG file; None when it no longer waits."""
        with self._lock:
            return self._picture(id)

    def take(self, ids: Iterable[str]) -> list[tuple[WaitingFrame, bytes]]:
        """Frames with their pictures, in the order asked for; they wait on until they are dropped.

        Those that no longer wait are left out.
        """
        with self._lock:
            found = [(self._frames.get(id), self._picture(id)) for id in ids]
        return [(frame, picture) for frame, picture in found if frame is not None and picture is not None]

    def drop(self, ids: Iterable[str]) -> int:
        """Let frames go; gives how many there were. Raises StorageError when the disk fails."""
        with self._lock, _storage(self._folder):
            gone = sum(self._drop(id) for id in list(ids))
            if gone and self._folder is not None:
                fsync_folder(self._folder)  # labelled frames must not come back after a power cut
            return gone

    def offer(
        self,
        jpeg: bytes,
        taken_at: float,
        reason: Reason,
        class_name: str = "",
        probability: float = 0.0,
        features: FloatArray | None = None,
    ) -> str | None:
        """Take in a frame.

        Args:
            features: shape ``(n,)``; None compares the pictures themselves.

        Returns:
            Its id; None when it is not taken in: too soon, nearly the same as another, larger than the whole space.

        Raises:
            DataError: when it can't be decoded.
            StorageError: when the disk is full or fails.
        """
        if not self.is_due(taken_at):
            return None
        self._last_look = taken_at
        direction = _direction(_thumbnail(jpeg) if features is None else features)
        near = NEAR_THUMBNAIL if features is None else NEAR_DUPLICATE
        size = len(jpeg) + direction.nbytes + len(class_name.encode()) + _OVERHEAD_BYTES
        frame = WaitingFrame(secrets.token_hex(8), taken_at, reason, class_name, probability, size, direction)
        with self._lock, _storage(self._folder):
            if size > self.limit_bytes or self._nearest(direction) >= near:
                return None
            self._make_room(self.limit_bytes - size)
            self._keep(frame, jpeg)
        return frame.id

    def is_due(self, taken_at: float) -> bool:
        """Whether a frame taken at this moment would be looked at; the clock may have been set back."""
        return not 0 <= taken_at - self._last_look < self._pause

    def _nearest(self, direction: FloatArray) -> float:
        """The largest cosine to a frame that waits; -1 without any."""
        known = [each.direction for each in self._frames.values() if each.direction.shape == direction.shape]
        return float((np.stack(known) @ direction).max()) if known else -1.0

    def _make_room(self, room: int) -> None:
        taken = sum(frame.size_bytes for frame in self._frames.values())
        for frame in list(self._frames.values()):
            if taken <= room:
                return
            taken -= frame.size_bytes
            self._drop(frame.id)

    def _keep(self, frame: WaitingFrame, jpeg: bytes) -> None:
        if self._folder is None:
            self._pictures[frame.id] = jpeg
        else:
            aside = self._folder / f"{frame.id}.new"
            try:
                write_tensors(aside, _tensors(frame, jpeg))
            except OSError:
                remove(aside)
                raise
            rename(aside, self._path(self._folder, frame.id))
            fsync_folder(self._folder)
        self._frames[frame.id] = frame

    def _drop(self, id: str) -> bool:
        if self._frames.pop(id, None) is None:
            return False
        self._pictures.pop(id, None)
        if self._folder is not None:
            remove(self._path(self._folder, id))
        return True

    def _picture(self, id: str) -> bytes | None:
        if self._folder is None or id not in self._frames:
            return self._pictures.get(id)
        try:
            return read_tensors(self._path(self._folder, id), DataError)["jpeg"].tobytes()
        except (DataError, KeyError):  # somebody has removed or changed the file
            return None

    def _read(self, folder: Path) -> None:
        """Find the frames of an earlier process; what is half-written or damaged is removed."""
        make_folders(folder)
        found = []
        for path in [each for each in folder.iterdir() if _FILE_NAME.fullmatch(each.name)]:
            frame = _frame(path) if path.suffix != ".new" else None
            if frame is None:
                remove(path)
            else:
                found.append(frame)
        self._frames = {frame.id: frame for frame in sorted(found, key=lambda each: each.taken_at)}
        self._make_room(self.limit_bytes)

    @staticmethod
    def _path(folder: Path, id: str) -> Path:
        return folder / f"{id}.safetensors"


def _tensors(frame: WaitingFrame, jpeg: bytes) -> dict[str, FloatArray | ByteArray | np.ndarray]:
    return {
        "about": np.array([frame.taken_at, frame.probability, _REASONS.index(frame.reason)]),
        "class_name": np.frombuffer(frame.class_name.encode(), np.uint8),
        "direction": frame.direction,
        "jpeg": np.frombuffer(jpeg, np.uint8),
    }


def _frame(path: Path) -> WaitingFrame | None:
    """The frame in a file; None when it is damaged."""
    try:
        found = read_tensors(path, DataError)
        taken_at, probability, reason = found["about"].tolist()
        name = found["class_name"].tobytes()
        direction = np.asarray(found["direction"], np.float32)
        size = found["jpeg"].nbytes + direction.nbytes + len(name) + _OVERHEAD_BYTES
        if not (math.isfinite(taken_at) and 0 <= probability <= 1 and np.isfinite(direction).all()):
            return None
        return WaitingFrame(path.stem, taken_at, _REASONS[int(reason)], name.decode(), probability, size, direction)
    except (LightclError, KeyError, ValueError, IndexError, OverflowError, TypeError):
        return None


def _thumbnail(jpeg: bytes) -> FloatArray:
    pixels = decode(open_bytes(jpeg, "the frame"), "the frame", _THUMBNAIL).mean(axis=2)
    return np.asarray(pixels.ravel() - pixels.mean(), np.float32)


def _direction(features: FloatArray) -> FloatArray:
    """Length 1, float32. What has no length or is no number resembles nothing."""
    length = float(np.linalg.norm(features))
    usable = np.isfinite(length) and length > 0
    return np.asarray(features.ravel() / length if usable else np.zeros(features.size), np.float32)


@contextmanager
def _storage(folder: Path | None) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StorageError(f"frames that wait for a label can't be kept in {folder}: {error.strerror}") from error
