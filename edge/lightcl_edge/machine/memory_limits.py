"""How much memory a process may take here."""

from contextlib import suppress
from pathlib import Path

from lightcl_edge.machine import process_memory

#: Left for everything else on the board, and for what the kernel itself charges to a control group.
MEMORY_RESERVE_BYTES = 16 * 2**20
#: A budget this large switches the check off (``--memory-budget none``).
UNCHECKED_BYTES = 2**60
#: A version-1 group without a limit says a number close to 2**63.
_UNLIMITED_BYTES = 2**60
_MEMINFO = Path("/proc/meminfo")


def available_bytes() -> int:
    """The most this process may take, its present size included. A reserve is left for everything else."""
    free = machine_available_bytes() + (process_memory.sample(with_pss=False).rss_bytes or 0)
    room = cgroup_room_bytes()
    return min(free, room if room is not None else free) - MEMORY_RESERVE_BYTES


def spare_bytes(limit_bytes: int | None = None) -> int:
    """Memory that is left now, without the reserve; below 0 when the reserve is used up.

    The kernel can take back pages of files that were read. They count only against ``limit_bytes``, the most that this
    process may take.
    """
    used = process_memory.sample(with_pss=False)
    room, own = cgroup_room_bytes(), used.anonymous_bytes or 0
    free = machine_available_bytes()
    spare = min(free, room - own if room is not None else free) - MEMORY_RESERVE_BYTES
    return spare if limit_bytes is None else min(spare, limit_bytes - (used.rss_bytes or 0))


def allowed_bytes(budget_bytes: int | None) -> int:
    """The most a plan may need: the budget, but never more than the machine has.

    Without a budget it is all that the machine has; ``UNCHECKED_BYTES`` allows any amount.
    """
    if budget_bytes is not None and budget_bytes >= UNCHECKED_BYTES:
        return budget_bytes
    available = available_bytes()
    return available if budget_bytes is None else min(budget_bytes, available)


def kernel_text(path: str) -> str:
    """A file of the kernel, or nothing when it can't be read."""
    with suppress(OSError, UnicodeDecodeError):
        return Path(path).read_text().strip("\0\n ")
    return ""


def machine_available_bytes(meminfo: Path = _MEMINFO) -> int:
    """Memory that the whole machine could still give out.

    The kernel's file is asked first: importing psutil costs 2 MiB, which a training would carry to its end.
    """
    if (available := process_memory.kib_fields(meminfo).get("MemAvailable")) is not None:
        return available
    import psutil

    return int(psutil.virtual_memory().available)


def _group_path(controller: str) -> str | None:
    """This process's path below a version-1 controller; an empty name asks for version 2."""
    for line in kernel_text("/proc/self/cgroup").splitlines():
        _, names, path = line.split(":", 2)
        if controller in names.split(","):
            return path
    return None


def _limits(root: Path, group: str, name: str) -> list[tuple[Path, int]]:
    found = []
    folder = root / group.strip("/")
    while True:
        with suppress(OSError, ValueError):
            text = (folder / name).read_text().strip()
            found.append((folder, _UNLIMITED_BYTES if text == "max" else int(text)))
        if folder == root or root not in folder.parents:
            return found
        folder = folder.parent


def _group_limits() -> tuple[str, list[tuple[Path, int]]]:
    for kind, controller, root, name in (
        ("v1", "memory", "/sys/fs/cgroup/memory", "memory.limit_in_bytes"),
        ("v2", "", "/sys/fs/cgroup", "memory.max"),
    ):
        group = _group_path(controller)
        limits = [] if group is None else _limits(Path(root), group, name)
        if limits:
            return kind, limits
    return "unavailable", []


def cgroup_limit() -> tuple[str, int | None]:
    """The kind of memory control group, and the smallest limit in bytes that holds for this process.

    The kind is ``v1``, ``v2`` or ``unavailable``: stock Raspberry Pi kernels switch it off. The limit may be None.
    """
    kind, limits = _group_limits()
    smallest = min((limit for _, limit in limits), default=_UNLIMITED_BYTES)
    return kind, smallest if smallest < _UNLIMITED_BYTES else None


def cgroup_room_bytes() -> int | None:
    """What the control group leaves to this process, its present size included; None when nothing limits it.

    Other processes in the group (a watcher beside its training) count with their anonymous and shared memory. Pages of
    files do not count: the kernel takes them back when memory runs short.
    """
    own = process_memory.sample(with_pss=False).anonymous_bytes or 0
    rooms = []
    for folder, limit in _group_limits()[1]:
        if limit < _UNLIMITED_BYTES:
            rooms.append(limit - max(0, _held_bytes(folder) - own))
    return min(rooms, default=None)


def _held_bytes(folder: Path) -> int:
    """Memory of a group that the kernel can't take back: version 1 calls it total_rss, version 2 anon."""
    fields = dict(line.split()[:2] for line in kernel_text(str(folder / "memory.stat")).splitlines() if " " in line)
    if "total_rss" in fields:
        return int(fields["total_rss"]) + int(fields.get("total_shmem", 0))
    return int(fields.get("anon", 0)) + int(fields.get("shmem", 0))
