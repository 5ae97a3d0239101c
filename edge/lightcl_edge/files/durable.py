"""Files that are still there after a power cut: write aside, sync, rename, sync the folder.

All changes of a state directory go through :class:`Calls`. So a test can record them or let them fail
(:func:`calls_through`), and every byte written is counted (:func:`counting`).
"""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_CHUNK_BYTES = 2**20
#: Largest copy made of data that does not lie in one piece.
_COPY_BYTES = 2**18
#: Not blocking: opening a pipe in a file's place is then an error, and does not wait for ever.
_WRITE = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK
#: What a file system that has no links, or no more of them, answers.
_NO_LINK = {errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EXDEV, errno.EMLINK}
_NEW_FILE, _GROWING_FILE = _WRITE | os.O_TRUNC, _WRITE | os.O_APPEND

#: File systems that keep no folders of their own to sync say this, such as CIFS of older kernels. Files say it never.
_NO_FOLDER_SYNC = (errno.EINVAL, errno.ENOTSUP)


class Calls:
    """The system calls that change a disk. Handles are the system's file descriptors."""

    def create(self, path: Path) -> int:
        """Open a file for writing, new or emptied."""
        return os.open(path, _NEW_FILE, 0o644)

    def open_to_append(self, path: Path) -> int:
        """Open a file for writing at its end, made if missing."""
        return os.open(path, _GROWING_FILE, 0o644)

    def write(self, handle: int, data: memoryview) -> int:
        """Write some or all of the data; gives the number of bytes."""
        return os.write(handle, data)

    def sync(self, handle: int) -> None:
        """Make a file's content durable."""
        os.fsync(handle)

    def close(self, handle: int) -> None:
        os.close(handle)

    def sync_folder(self, folder: Path) -> None:
        """Make a folder's entries (new names, renames, removals) durable."""
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(handle)
        except OSError as error:
            if error.errno not in _NO_FOLDER_SYNC:
                raise
        finally:
            os.close(handle)

    def rename(self, source: Path, target: Path) -> None:
        """Rename a file over another, or a folder to a free name."""
        os.replace(source, target)

    def link(self, source: Path, target: Path) -> None:
        """Give a file a second name."""
        os.link(source, target)

    def remove(self, path: Path) -> None:
        """Remove a file's name."""
        os.unlink(path)

    def make_folder(self, path: Path) -> None:
        path.mkdir()

    def remove_folder(self, path: Path) -> None:
        path.rmdir()


class WriteCount:
    """Bytes written to a disk so far. ``promise_more`` is called before they pass ``promised_bytes``."""

    def __init__(self, total_bytes: int, promise_more: Callable[[], None]) -> None:
        self.total_bytes = self.promised_bytes = total_bytes
        self._promise_more = promise_more

    def add(self, count: int) -> None:
        """Count bytes that are about to be written."""
        self.total_bytes += count
        if self.total_bytes > self.promised_bytes:
            self._promise_more()


_active: Calls = Calls()
_counts: list[WriteCount] = []


@contextmanager
def calls_through(calls: Calls) -> Iterator[None]:
    """Use other calls than the system's, for a test."""
    global _active  # noqa: PLW0603 - the one place where calls are exchanged
    previous, _active = _active, calls
    try:
        yield
    finally:
        _active = previous


@contextmanager
def counting(count: WriteCount) -> Iterator[None]:
    """Count every byte just before it is written."""
    _counts.append(count)
    try:
        yield
    finally:
        _counts.remove(count)


class DurableFile:
    """A file that is written from front to back, or with ``append`` from its end on. Its folder must be there."""

    def __init__(self, path: Path, *, append: bool = False) -> None:
        self._handle = _active.open_to_append(path) if append else _active.create(path)

    def __enter__(self) -> DurableFile:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def write(self, data: bytes | memoryview) -> None:
        """Write all of the data. Each piece is counted before it is written, so that no crash hides it."""
        left = memoryview(data)
        while left:
            piece = left[:_CHUNK_BYTES]
            for count in list(_counts):
                count.add(len(piece))
            while len(piece):
                written = _active.write(self._handle, piece)
                left, piece = left[written:], piece[written:]

    def sync(self) -> None:
        """Make the content durable."""
        _active.sync(self._handle)

    def close(self) -> None:
        """Close the file; a second time does nothing."""
        if self._handle >= 0:
            handle, self._handle = self._handle, -1
            _active.close(handle)


def fsync_folder(folder: Path) -> None:
    """Make a folder's new names and renames durable."""
    _active.sync_folder(folder)


def rename(source: Path, target: Path) -> None:
    """Rename. It is durable once the folder, or both folders, are synced."""
    _active.rename(source, target)


def remove(path: Path) -> None:
    """Remove a file, if it is there."""
    with suppress(FileNotFoundError):
        _active.remove(path)


def make_folders(path: Path) -> None:
    """Make a folder and those above it, if they are missing."""
    if path.is_dir():
        return
    if path.parent != path:
        make_folders(path.parent)
    with suppress(FileExistsError):
        _active.make_folder(path)


def remove_tree(path: Path) -> None:
    """Remove a file, a link, or a folder with its content; links are not followed."""
    if path.is_dir() and not path.is_symlink():
        for child in sorted(path.iterdir()):
            remove_tree(child)
        _active.remove_folder(path)
    elif path.is_symlink() or path.exists():
        remove(path)


def write_durably(path: Path, data: bytes) -> str:
    """Write a file and sync it; gives its SHA-256. A missing folder is made, but not synced."""
    return write_parts_durably(path, [data])


def write_parts_durably(path: Path, parts: Iterable[bytes | memoryview]) -> str:
    """As :func:`write_durably`, part after part. An array that does not lie row by row is copied in small pieces."""
    digest = hashlib.sha256()
    make_folders(path.parent)
    with DurableFile(path) as file:
        for part in parts:
            for piece in _pieces(memoryview(part)):
                file.write(piece)
                digest.update(piece)
        file.sync()
    return digest.hexdigest()


def _pieces(part: memoryview) -> Iterable[bytes | memoryview]:
    if part.c_contiguous:
        return [part]
    rows = max(1, _COPY_BYTES * len(part) // part.nbytes)
    return (part[at : at + rows].tobytes() for at in range(0, len(part), rows))


def copy_durably(names: Iterable[str], source: Path, target: Path) -> None:
    """Copy files of one folder into another, piece by piece, and sync them with the folders that they lie in."""
    folders = {target}
    for name in names:
        make_folders((target / name).parent)
        folders.add((target / name).parent)
        _copy_file(source / name, target / name)
    for folder in sorted(folders):
        fsync_folder(folder)


def _copy_file(source: Path, target: Path) -> None:
    with source.open("rb") as original, DurableFile(target) as file:
        while chunk := original.read(_CHUNK_BYTES):
            file.write(chunk)
        file.sync()


def link_or_copy(source: Path, target: Path) -> None:
    """Give a file of durable content a second name, or copy it where that is not possible, as on FAT.

    A missing folder is made, but not synced. Neither name may be written to afterwards.
    """
    make_folders(target.parent)
    try:
        _active.link(source, target)
    except OSError as error:
        if error.errno not in _NO_LINK:
            raise
        _copy_file(source, target)


def replace_durably(path: Path, data: bytes) -> None:
    """Replace a file: after a crash it has the old content or the new, never a mix."""
    aside = path.with_name(path.name + ".new")
    write_durably(aside, data)
    rename(aside, path)
    fsync_folder(path.parent)
