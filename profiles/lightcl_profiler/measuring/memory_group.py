"""A memory control group around one process: its peak as the kernel counts it, and a limit.

It knows versions 1 and 2. Where no group can be made the reason is kept, and figures are "unavailable", never 0. The
kernel may lack the controller, as on stock Raspberry Pi systems, or the user may not make a group.
"""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

_V1_ROOT, _V2_ROOT = Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup")
_NUMBERS = itertools.count(1)
#: The shell moves itself into the group before it becomes the program: all its memory is counted.
_ENTER = 'echo $$ > "$0" && exec "$@"'


class NoGroupError(Exception):
    """No group can be made here; the text says why."""


class MemoryGroup:
    """A group for one process, removed when its context ends or by :meth:`close`.

    A limit counts file pages too. The roots are where versions 1 and 2 are mounted. Raises a NoGroupError when none can
    be made.
    """

    def __init__(self, limit_bytes: int | None = None, v1_root: Path = _V1_ROOT, v2_root: Path = _V2_ROOT) -> None:
        self.version, parent = _parent(v1_root, v2_root)
        self.folder = parent / f"lightcl-{os.getpid()}-{next(_NUMBERS)}"
        try:
            self.folder.mkdir()
        except OSError as error:
            raise NoGroupError(
                f"no memory control group may be made in {parent} ({error.strerror}); run as root, or under "
                "systemd-run --user --scope -p Delegate=yes"
            ) from error
        try:
            self._prepare(parent, limit_bytes)
        except OSError as error:
            self.close()
            raise NoGroupError(f"the memory controller does not work in {parent} ({error.strerror})") from error

    def _prepare(self, parent: Path, limit_bytes: int | None) -> None:
        """Switch the controller on and set the limit, which swap does not extend."""
        limit = "memory.limit_in_bytes" if self.version == "v1" else "memory.max"
        if not (self.folder / limit).exists():
            (parent / "cgroup.subtree_control").write_text("+memory")
        if limit_bytes is None:
            return
        (self.folder / limit).write_text(str(limit_bytes))
        swap, most = ("memory.memsw.limit_in_bytes", limit_bytes) if self.version == "v1" else ("memory.swap.max", 0)
        if (self.folder / swap).exists():
            with suppress(OSError):
                (self.folder / swap).write_text(str(most))

    def __enter__(self) -> MemoryGroup:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def command(self, words: Sequence[str]) -> list[str]:
        """The words that start a command inside the group."""
        return ["/bin/sh", "-c", _ENTER, str(self.folder / "cgroup.procs"), *words]

    def peak_bytes(self) -> int | None:
        """The most memory that the group ever held; None where the kernel does not count it (version 2 before 5.19)."""
        name = "memory.max_usage_in_bytes" if self.version == "v1" else "memory.peak"
        with suppress(OSError, ValueError):
            return int((self.folder / name).read_text())
        return None

    def kills(self) -> int | None:
        """How many processes of the group the kernel killed for lack of memory; None where it does not count them."""
        name = "memory.oom_control" if self.version == "v1" else "memory.events"
        with suppress(OSError, ValueError):
            for line in (self.folder / name).read_text().splitlines():
                words = line.split()
                if words[:1] == ["oom_kill"]:
                    return int(words[1])
        return None

    def close(self) -> None:
        """Remove the group; its process has ended."""
        for _ in range(50):
            try:
                self.folder.rmdir()
            except FileNotFoundError:
                return
            except OSError:  # the kernel needs a moment after the process has ended
                time.sleep(0.02)
            else:
                return


def _parent(v1_root: Path, v2_root: Path) -> tuple[str, Path]:
    """The version that has the memory controller, and this process's own group in it."""
    with suppress(OSError):
        for line in Path("/proc/self/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if "memory" in controllers.split(",") and v1_root.is_dir():
                own = v1_root / path.strip("/")
                return "v1", own if own.is_dir() else v1_root
    with suppress(OSError):
        if "memory" in (v2_root / "cgroup.controllers").read_text().split():
            return "v2", _own_v2(v2_root)
    raise NoGroupError("this kernel has no memory control group (cgroup); on a Raspberry Pi add cgroup_enable=memory")


def _own_v2(root: Path) -> Path:
    """A group of version 2 in which children may be limited: the root, or one without processes of its own."""
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        if line.startswith("0::"):
            own = root / line[3:].strip("/")
            return own.parent if own != root and own.is_dir() else root
    return root
