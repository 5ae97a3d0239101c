"""The exclusive right to change a state directory."""

import errno
import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NoReturn

from lightcl_edge.errors import BusyStateError, StateError


@contextmanager
def locked(folder: Path, wait_seconds: float = 0.1) -> Iterator[None]:
    """Hold an advisory lock on the directory. The kernel drops it when the process ends, however it ends.

    Somebody who asks for the status may hold it for a moment, so it is tried for a while.
    """
    path, handle, owner_pid = folder / "LOCK", -1, os.getpid()
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        _take(handle, wait_seconds)
    except BlockingIOError as error:
        owner = "".join(filter(str.isdigit, path.read_bytes()[:20].decode("ascii", "replace"))) or "unknown"
        os.close(handle)
        raise BusyStateError(
            f"{folder} is being changed by another process (pid {owner}); wait for it or stop it"
        ) from error
    except OSError as error:
        if handle >= 0:
            os.close(handle)
            raise StateError(
                f"{folder} can't be locked ({os.strerror(error.errno or 0)}): its file system has no locks. Expected "
                "one that has: mount NFS as version 4 or with a lock daemon, or keep the state on a local disk"
            ) from error
        raise_unwritable(folder, error)
    try:
        with suppress(OSError):  # on a full disk the lock holds too, only without the number of its owner
            os.ftruncate(handle, 0)
            os.write(handle, str(os.getpid()).encode())
        yield
    finally:
        if os.getpid() == owner_pid:  # a forked child has the same lock, and would keep it until it ends
            fcntl.flock(handle, fcntl.LOCK_UN)
        os.close(handle)


def _take(handle: int, wait_seconds: float) -> None:
    for attempts_left in reversed(range(int(wait_seconds / 0.02))):
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if not attempts_left:
                raise
            time.sleep(0.02)


def refuse_unwritable(folder: Path) -> None:
    """Raise a StateError for a directory that can't be written or made, before any work is done for it."""
    place = next(parent for parent in (folder.absolute(), *folder.absolute().parents) if parent.exists())
    if not os.access(place, os.W_OK | os.X_OK):
        read_only = os.statvfs(place).f_flag & os.ST_RDONLY
        raise_unwritable(place, OSError(errno.EROFS if read_only else errno.EACCES, ""))


def raise_unwritable(folder: Path, error: OSError) -> NoReturn:
    """Raise a StateError for a directory that can't be written; a full disk stays an OSError."""
    if error.errno == errno.ENOSPC:
        raise error
    raise StateError(
        f"{folder} can't be written ({os.strerror(error.errno or 0)}); expected a writable directory, "
        "check its owner and mount"
    ) from error
