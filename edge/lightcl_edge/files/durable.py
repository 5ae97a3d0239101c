"""Files that are still there after a power cut: write aside, sync, rename, sync the folder.

All changes of a state directory go through :class:`Calls`. So a test can record them or let them fail
(:func:`calls_through`), and every byte written is counted (:func:`counting`).
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_CHUNK_BYTES = 2**20
#: Not blocking: opening a pipe in a file's place is then an error, and does not wait for ever.
_WRITE = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK
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

    def remove(self, path: Path) -> None:
        """Remove a file's name."""
        os.unlink(path)

    def make_folder(self, path: Path) -> None:
        path.mkdir()

    def remove_folder(self, path: Path) -> None:
        path.rmdir()


_active: Calls = Calls()
_counters: list[Callable[[int], None]] = []


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
def counting(counter: Callable[[int], None]) -> Iterator[None]:
    """Tell ``counter`` the number of bytes just before each write."""
    _counters.append(counter)
    try:
        yield
    finally:
        _counters.remove(counter)


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
            for counter in list(_counters):
                counter(len(piece))
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


def write_durably(path: Path, data: bytes) -> None:
    """Write a file and sync it. A missing folder is made, but not synced."""
    make_folders(path.parent)
    with DurableFile(path) as file:
        file.write(data)
        file.sync()


def copy_durably(source: Path, target: Path) -> None:
    """Copy a file's content piece by piece and sync it. A missing folder is made, but not synced."""
    make_folders(target.parent)
    with source.open("rb") as original, DurableFile(target) as file:
        while chunk := original.read(_CHUNK_BYTES):
            file.write(chunk)
        file.sync()


def replace_durably(path: Path, data: bytes) -> None:
    """Replace a file: after a crash it has the old content or the new, never a mix."""
    aside = path.with_name(path.name + ".new")
    write_durably(aside, data)
    rename(aside, path)
    fsync_folder(path.parent)
