"""Files that are read whole: opened without a risk of waiting, and their hashes."""

import hashlib
import os
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

_CHUNK_BYTES = 2**20
#: Photographs are smaller than this; the content of larger files is not read whole to tell them apart.
WHOLLY_HASHED_BYTES = 16 * 2**20


class NotPlainError(OSError):
    """A pipe, a device, a socket or a folder where a file was expected."""


def open_plain(path: Path) -> BinaryIO:
    """Open a plain file to read; anything else is a NotPlainError.

    Opening a pipe that nobody writes to would wait for ever.
    """
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise NotPlainError(f"{path} is a pipe, a device or a folder, expected a file")
    return os.fdopen(handle, "rb")


def read_limited(path: Path, limit_bytes: int) -> bytes:
    """A file's content, or a ValueError when it is larger than the limit."""
    with open_plain(path) as file:
        data = file.read(limit_bytes + 1)
    if len(data) > limit_bytes:
        raise ValueError(f"larger than {limit_bytes} bytes")
    return data


#: Inode, size and time of a file's last change; zeros when it is missing.
FileTime = tuple[int, int, int]


def file_time(path: Path) -> FileTime:
    """Tells whether a file is still the one that was looked at before."""
    try:
        about = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return 0, 0, 0
    return about.st_ino, about.st_size, about.st_mtime_ns


def hashes_of(paths: Iterable[Path]) -> list[str]:
    """SHA-256 of each file."""
    return [sha256_of(path) for path in paths]


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, read in chunks."""
    digest = hashlib.sha256()
    with open_plain(path) as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def content_digest(path: Path) -> bytes:
    """32 bytes that tell a file's content apart.

    They come from all of a small file; from a larger one's size, time, start, middle and end.
    """
    digest = hashlib.sha256()
    with open_plain(path) as file:
        about = os.fstat(file.fileno())
        if about.st_size <= WHOLLY_HASHED_BYTES:
            while chunk := file.read(_CHUNK_BYTES):
                digest.update(chunk)
            return digest.digest()
        digest.update(f"{about.st_size} {about.st_mtime_ns}".encode())
        for start in (0, (about.st_size - _CHUNK_BYTES) // 2, about.st_size - _CHUNK_BYTES):
            file.seek(start)
            digest.update(file.read(_CHUNK_BYTES))
    return digest.digest()
