"""``STATE/shared``: what this board shared, by version, for as long as a pool may count it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from lightcl_edge.bundle.manifest import MAX_CLASSES
from lightcl_edge.console.text import Document
from lightcl_edge.errors import LightclError, StateError
from lightcl_edge.files.durable import make_folders, remove, replace_durably
from lightcl_edge.files.records import between, read_record
from lightcl_edge.files.tensors import DoubleArray
from lightcl_edge.fleet.arrivals import not_erased
from lightcl_edge.fleet.fixed_point import Layout, largest
from lightcl_edge.fleet.knowledge import Knowledge
from lightcl_edge.fleet.moments import Moments
from lightcl_edge.state.board import MAX_VERSION, Erased, all_erased


@dataclass(frozen=True)
class Order:
    """What a server asks a board to add: what ``version`` taught that ``before`` had not, without erased classes."""

    layout: Layout
    version: Annotated[int, between(1, MAX_VERSION)]
    before: Annotated[int, between(0, MAX_VERSION)]  # 0 for nothing
    erased: Erased


class Kept:
    """A folder with a knowledge file a version."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def keep(self, version: int, content: Path, counted: int) -> None:
        """Keep what was shared, beside the version that a pool counts; the state's lock must be held."""
        make_folders(self._folder)
        replace_durably(self._folder / str(version), content.read_bytes())
        for path in self._folder.iterdir():
            if path.name not in (str(version), str(counted)):
                remove(path)

    def read(self, version: int) -> Knowledge | None:
        """What was shared as a version; None where it is not kept or damaged."""
        path = self._folder / str(int(version))
        try:
            file = Knowledge(path)
            for sums in file.classes.values():
                sums.read()
        except LightclError:
            return None
        return file

    def announcement(self, shared: Document, counted: int, erased: Mapping[str, int]) -> Document:
        """What a server must know before it adds up sums that it does not see.

        Args:
            shared: the document of ``share``.
            counted: the version that the pool counts; 0 for none.
            erased: how often each class was erased, by the hash of its name, as the server knows.

        Returns:
            ``board``, ``version``, names of ``classes``, ``boards`` as in ``share``, ``erasures`` by hash, and
            ``largest`` of what is new; None where this board no longer has the version that is counted.
        """
        version = int(shared["version"])
        now = self.read(version)
        known = dict(now.record.erased) if now else {}
        found = self._difference(version, counted, all_erased(erased, known))
        said = {key: shared[key] for key in ("board", "version", "classes", "boards")}
        return {**said, "erasures": known, "largest": None if found is None else largest(found)}

    def vector(self, order: Document) -> DoubleArray:
        """What an order of the server asks for.

        Raises:
            StateError: when one of the versions is not kept.
            ValueError: when the order is none, or the sums do not fit it.
        """
        asked = read_record(Order, order, "", ValueError, "an order of lightcl-host fleet")
        found = self._difference(asked.version, asked.before, asked.erased)
        if found is None:
            raise StateError(f"version {asked.version} or {asked.before} of this board is not kept")
        if asked.layout.size != found.size or len(asked.layout.classes) > MAX_CLASSES:
            raise ValueError(f"the order is for {asked.layout.size} numbers a sample, expected {found.size}")
        return asked.layout.encode(found)

    def _difference(self, version: int, before: int, erased: Mapping[str, int]) -> Moments | None:
        """Without erased classes; None where one is not kept. ``before`` is 0 for nothing."""
        files = [self.read(each) for each in (version, before) if each]
        moments = [Moments.of(not_erased(file, erased), file.record.size) for file in files if file is not None]
        if len(moments) < len(files):
            return None
        return moments[0].minus(moments[1]) if before else moments[0]
