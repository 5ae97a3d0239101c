"""The folder of the running task: ``STATE/work``."""

import fcntl
import os
from contextlib import suppress

from lightcl_edge.files.durable import make_folders, remove_tree, replace_durably
from lightcl_edge.files.plain import read_limited
from lightcl_edge.state.state import State

#: In the work folder: the number of the generation that the running task started from.
_PARENT = "parent"


def begin_task(state: State, parent: int) -> None:
    """Note what the running task starts from. The task is over once that is no longer the current generation."""
    if _parent(state) != parent:
        make_folders(state.work)
        replace_durably(state.work / _PARENT, f"{parent}\n".encode())


def _parent(state: State) -> int | None:
    with suppress(OSError, ValueError):
        return int(read_limited(state.work / _PARENT, 16))
    return None


def is_task_over(state: State) -> bool:
    """Whether the work folder is of a task whose generation was committed just before its process died."""
    return state.work.is_dir() and _parent(state) not in (None, state.current_number())


def has_interrupted_task(state: State) -> bool:
    """Whether a task was begun and neither finished nor is running now."""
    if not state.work.is_dir() or is_task_over(state):
        return False
    try:
        handle = os.open(state.folder / "LOCK", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return True
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False  # it runs now
    except OSError:
        return True  # nothing can be locked here, so nothing runs
    finally:
        os.close(handle)
    return True


def clear_work(state: State) -> None:
    """Remove the running task's files; a disk that refuses keeps some, which no later task takes up."""
    with suppress(OSError):
        remove_tree(state.work)
