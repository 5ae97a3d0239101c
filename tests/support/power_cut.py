"""A disk that remembers every call, and what a power cut could leave of them.

:class:`Recorder` performs the calls of `lightcl_edge.files.durable` and notes them as changes of files and folders.
:meth:`Recorder.after_cut` lays out what a disk may hold when the power goes after any number of them: what was synced
is there; of the rest each change may be there, lost, or (for a file's content) be garbage, in any combination. That is
more than real file systems do to their users, and each thing it does has been seen (Pillai et al., OSDI 2014).
"""

from __future__ import annotations

import errno
import random
from collections.abc import Callable
from pathlib import Path

from lightcl_edge.files.durable import Calls

Choice = Callable[[str], str]


class Unsynced(Calls):
    """The real calls, without waiting for the disk: for tests that cut no power."""

    def sync(self, handle):
        del handle

    def sync_folder(self, folder):
        if not folder.is_dir():
            raise FileNotFoundError(errno.ENOENT, "no such folder", str(folder))


class Recorder(Unsynced):
    """Performs calls below ``root`` and notes them.

    Files and folders are numbered; a folder is a mapping from names to numbers, a file is bytes.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.events: list[tuple] = []
        self._folders: dict[int, dict[str, int]] = {}
        self._files: dict[int, bytes] = {}
        self._names: dict[int, dict[str, int]] = {}  # as the program sees them now
        self._open: dict[int, tuple[int, int]] = {}
        self._next = 0
        self._top = self._load(root)

    def _load(self, path: Path) -> int:
        number = self._number()
        if path.is_dir():
            self._folders[number] = {p.name: self._load(p) for p in sorted(path.iterdir())}
            self._names[number] = dict(self._folders[number])
        else:
            self._files[number] = path.read_bytes()
        return number

    def _number(self) -> int:
        self._next += 1
        return self._next

    def _at(self, path: Path) -> int:
        number = self._top
        for name in path.relative_to(self.root).parts:
            number = self._names[number][name]
        return number

    def _opened(self, path: Path, handle: int, append: bool) -> int:
        folder, size = self._at(path.parent), 0
        number = self._names[folder].get(path.name)
        if number is None:
            number = self._number()
            self.events.append(("link", folder, path.name, number))
            self._names[folder][path.name] = number
        elif append:
            size = path.stat().st_size
        else:
            self.events.append(("empty", number))
        self._open[handle] = (number, size)
        return handle

    def create(self, path):
        return self._opened(path, super().create(path), append=False)

    def open_to_append(self, path):
        return self._opened(path, super().open_to_append(path), append=True)

    def write(self, handle, data):
        written = super().write(handle, data)
        number, at = self._open[handle]
        self.events.append(("write", number, at, bytes(data[:written])))
        self._open[handle] = (number, at + written)
        return written

    def sync(self, handle):
        self.events.append(("sync", self._open[handle][0]))

    def sync_folder(self, folder):
        super().sync_folder(folder)
        self.events.append(("sync", self._at(folder)))

    def rename(self, source, target):
        super().rename(source, target)
        old, new = self._at(source.parent), self._at(target.parent)
        number = self._names[old].pop(source.name)
        self._names[new][target.name] = number
        self.events.append(("rename", old, source.name, new, target.name, number))

    def link(self, source, target):
        super().link(source, target)
        number, folder = self._at(source), self._at(target.parent)
        self.events.append(("link", folder, target.name, number))
        self._names[folder][target.name] = number

    def remove(self, path):
        super().remove(path)
        folder = self._at(path.parent)
        self.events.append(("unlink", folder, path.name, self._names[folder].pop(path.name)))

    def make_folder(self, path):
        super().make_folder(path)
        number, folder = self._number(), self._at(path.parent)
        self._names[folder][path.name], self._names[number] = number, {}
        self.events.append(("link folder", folder, path.name, number))

    def remove_folder(self, path):
        super().remove_folder(path)
        folder = self._at(path.parent)
        self.events.append(("unlink", folder, path.name, self._names[folder].pop(path.name)))

    def after_cut(self, count: int, choice: Choice, out: Path) -> None:
        """Lay out what a disk may hold after the first ``count`` calls.

        Args:
            count: how many calls were made before the power went.
            choice: for each change that was not synced, by its kind: ``keep``, ``drop`` or ``garble``.
            out: the folder to make.
        """
        files = {number: bytearray(data) for number, data in self._files.items()}
        folders = {number: dict(names) for number, names in self._folders.items()}
        synced_at: dict[int, int] = {}
        for at, event in enumerate(self.events[:count]):
            if event[0] == "sync":
                synced_at[event[1]] = at
        for at, event in enumerate(self.events[:count]):
            if event[0] == "sync":
                continue
            owners = {event[1], event[3]} if event[0] == "rename" else {event[1]}
            durable = all(synced_at.get(owner, -1) > at for owner in owners)
            fate = "keep" if durable else choice(event[0])
            if fate != "drop":
                _apply(event, fate == "garble", files, folders)
        self._lay_out(self._top, out, files, folders)

    def _lay_out(self, number: int, out: Path, files: dict, folders: dict) -> None:
        if number in files:
            out.write_bytes(files[number])
            return
        out.mkdir()
        for name, child in folders.get(number, {}).items():
            self._lay_out(child, out / name, files, folders)


def _apply(event: tuple, garbled: bool, files: dict, folders: dict) -> None:
    kind, number = event[0], event[1]
    if kind == "write":
        at, data = event[2], event[3]
        content = files.setdefault(number, bytearray())
        content.extend(b"\0" * (at - len(content)))
        content[at : at + len(data)] = bytes(len(data)) if garbled else data
    elif kind == "empty":
        files.setdefault(number, bytearray()).clear()
    elif kind in ("link", "link folder"):
        folders.setdefault(number, {})[event[2]] = event[3]
        (files if kind == "link" else folders).setdefault(event[3], bytearray() if kind == "link" else {})
    elif kind == "rename":
        if folders.setdefault(number, {}).get(event[2]) == event[5]:
            del folders[number][event[2]]
        folders.setdefault(event[3], {})[event[4]] = event[5]
        if event[5] not in files:
            folders.setdefault(event[5], {})
    elif folders.get(number, {}).get(event[2]) == event[3]:
        del folders[number][event[2]]


def fates(seed: int) -> dict[str, Choice]:
    """Ways for unsynced changes to end, by name; the last are drawn at random."""
    data = ("write", "empty")
    ways: dict[str, Choice] = {
        "all kept": lambda kind: "keep",
        "all lost": lambda kind: "drop",
        "content garbled": lambda kind: "garble" if kind in data else "keep",
        "content lost": lambda kind: "drop" if kind in data else "keep",
        "names lost": lambda kind: "keep" if kind in data else "drop",
    }
    for draw in range(3):
        rng = random.Random(seed * 7 + draw)
        ways[f"random {draw}"] = lambda kind, rng=rng: rng.choice(
            ["keep", "drop", "garble"] if kind == "write" else ["keep", "drop"]
        )
    return ways


class FailingDisk(Unsynced):
    """Real calls until one of them fails, and perhaps all after it.

    Args:
        at: the call that fails first, from 0.
        code: ``errno.ENOSPC`` or ``errno.EIO``.
        forever: whether every later call that takes space (or, for EIO, any) fails too.
    """

    _TAKES_SPACE = frozenset({"create", "open_to_append", "write", "make_folder", "link"})

    def __init__(self, at: int, code: int, *, forever: bool) -> None:
        self._at, self._code, self._forever = at, code, forever
        self.calls, self.failures = 0, 0

    def _count(self, name: str) -> None:
        self.calls += 1
        here = self.calls - 1 == self._at
        later = self._forever and self.calls - 1 > self._at and (self._code == errno.EIO or name in self._TAKES_SPACE)
        if here or later:
            self.failures += 1
            raise OSError(self._code, errno.errorcode[self._code])

    def create(self, path):
        self._count("create")
        return super().create(path)

    def open_to_append(self, path):
        self._count("open_to_append")
        return super().open_to_append(path)

    def write(self, handle, data):
        self._count("write")
        return super().write(handle, data)

    def sync(self, handle):
        self._count("sync")
        super().sync(handle)

    def sync_folder(self, folder):
        self._count("sync_folder")
        super().sync_folder(folder)

    def rename(self, source, target):
        self._count("rename")
        super().rename(source, target)

    def link(self, source, target):
        self._count("link")
        super().link(source, target)

    def remove(self, path):
        self._count("remove")
        super().remove(path)

    def make_folder(self, path):
        self._count("make_folder")
        super().make_folder(path)

    def remove_folder(self, path):
        self._count("remove_folder")
        super().remove_folder(path)
