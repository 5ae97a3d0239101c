"""Hashes of files."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

_CHUNK_BYTES = 2**20
#: Photographs are smaller than this.
WHOLLY_HASHED_BYTES = 16 * 2**20


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, read in chunks."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def content_digest(path: Path) -> bytes:
    """What tells a file's content apart: all of a small file; of a larger one its size, time, start, middle and end.

    Args:
        path: the file.

    Returns:
        32 bytes.

    Raises:
        OSError: when it can't be read.
    """
    digest = hashlib.sha256()
    with path.open("rb") as file:
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
