"""``STATE/shared``: what this board shared, by version, for as long as a pool may count it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from lightcl_edge.console.text import Document
from lightcl_edge.errors import StateError
from lightcl_edge.files.durable import replace_durably
from lightcl_edge.files.tensors import DoubleArray
from lightcl_edge.fleet.arrivals import not_erased
from lightcl_edge.fleet.fixed_point import Layout, largest
from lightcl_edge.fleet.knowledge import Knowledge
from lightcl_edge.fleet.moments import Moments


class Kept:
    """A folder with a knowledge file a version."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def paths(self) -> Sequence[Path]:
        """Of all files."""
        return sorted(self._folder.iterdir()) if self._folder.is_dir() else []

    def announce(
        self, shared: Document, content: bytes, counted: Mapping[str, int], erased: Mapping[str, int]
    ) -> Document:
        """Keep what was shared; gives what a server must know before it adds up sums that it does not see.

        Args:
            shared: the document of ``share``, and ``content`` its file.
            counted: by board the version that the pool counts.
            erased: how often each class was erased, by the hash of its name, as the server knows.

        Returns:
            ``board``, ``version``, names of ``classes``, ``boards`` as in ``share``, ``erasures`` by hash, and
            ``largest`` of what is new, or ``lost`` where this board no longer has the version that is counted.
        """
        version, before = int(shared["version"]), counted.get(shared["board"], 0)
        self._folder.mkdir(exist_ok=True)
        replace_durably(self._folder / str(version), content)
        for path in self.paths():
            if path.name not in (str(version), str(before)):
                path.unlink()
        known = Knowledge(self._folder / str(version)).record.erased
        found = self._difference(version, before, {**erased, **known})
        more = {"lost": True} if found is None else {"largest": largest(found)}
        said = {key: shared[key] for key in ("board", "version", "classes", "boards")}
        return {**said, "erasures": known, **more}

    def vector(self, order: Document) -> DoubleArray:
        """What an order of the server asks for: what a version taught that the one before had not.

        Raises:
            StateError: when one of them is not kept.
            ValueError: when it does not fit the order.
        """
        found = self._difference(int(order["version"]), int(order["before"]), order["erased"])
        if found is None:
            raise StateError(f"version {order['version']} or {order['before']} of this board is not kept")
        return Layout(**order["layout"]).encode(found)

    def _difference(self, version: int, before: int, erased: Mapping[str, int]) -> Moments | None:
        """Without erased classes; None where one is not kept. ``before`` is 0 for nothing."""
        wanted = [self._folder / str(each) for each in (version, before) if each]
        if not all(path.is_file() for path in wanted):
            return None
        new, *old = (
            Moments.of(not_erased(knowledge, erased), knowledge.record.size) for knowledge in map(Knowledge, wanted)
        )
        return new.minus(old[0]) if old else new
