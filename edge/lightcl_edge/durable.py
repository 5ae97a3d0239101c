"""Files that are there after a power cut: write aside, sync, rename, sync the folder."""

from __future__ import annotations

import os
from pathlib import Path


def fsync_folder(folder: Path) -> None:
    """Make the folder's entries (new names, renames) durable."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_durably(path: Path, data: bytes) -> int:
    """Write a file and sync it; its folder is made if missing (and not synced here).

    Args:
        path: the file.
        data: its content.

    Returns:
        The number of bytes written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    return len(data)


def replace_durably(path: Path, data: bytes) -> int:
    """Replace a file so that after a crash it has the old content or the new, never a mix.

    Args:
        path: the file.
        data: its new content.

    Returns:
        The number of bytes written.
    """
    aside = path.with_name(path.name + ".new")
    written = write_durably(aside, data)
    os.replace(aside, path)
    fsync_folder(path.parent)
    return written
