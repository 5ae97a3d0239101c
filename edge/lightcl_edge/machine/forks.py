"""What a forked child must leave alone: sessions with threads, and folders of its parent.

A fork copies memory but no threads. Whoever uses or destroys an inherited onnxruntime session, be it at the end of the
child, waits for its threads for ever.
"""

import ctypes
import os
import shutil
import tempfile
import weakref
from pathlib import Path

_sessions: weakref.WeakSet[object] = weakref.WeakSet()


def never_destroy_in_children(session: object) -> None:
    """From now on a forked child keeps its copy of the object until the process is gone."""
    _sessions.add(session)


def _hold_inherited() -> None:
    for session in list(_sessions):
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(session))  # a list would be emptied at exit
    _sessions.clear()


os.register_at_fork(after_in_child=_hold_inherited)


class OwnFolder:
    """A temporary folder. The process that made it removes it with the object, a forked child does not."""

    def __init__(self, prefix: str) -> None:
        self.path = Path(tempfile.mkdtemp(prefix=prefix))
        weakref.finalize(self, _remove, self.path, os.getpid())


def _remove(folder: Path, owner: int) -> None:
    if os.getpid() == owner:
        shutil.rmtree(folder, ignore_errors=True)
