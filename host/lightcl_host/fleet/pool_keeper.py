"""The pool that a server keeps for its boards, in one file that is replaced whole."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lightcl_edge.bundle.manifest import MAX_CLASSES
from lightcl_edge.files.durable import fsync_folder, remove, rename, replace_durably
from lightcl_edge.fleet.arrivals import not_erased
from lightcl_edge.fleet.knowledge import Knowledge
from lightcl_edge.fleet.moments import Moments
from lightcl_edge.fleet.pool import PoolFile, PoolRecord, write_pool
from lightcl_edge.fleet.recorded_file import FORMAT
from lightcl_edge.state.board import MOST_ERASED_BY_OTHERS, all_erased
from lightcl_edge.state.sums_files import class_hash
from lightcl_host.fleet.store import Network, Store

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

_FILE, _MARK = "pool.knowledge", "pool-begins-again"


class PoolKeeper:
    """``STORE/pool.knowledge``.

    Raises:
        LightclError: when the file that is there is damaged or of another network.
    """

    def __init__(self, folder: Path, network: Network, key: Ed25519PrivateKey | None) -> None:
        self._path, self._mark, self._network, self._key = folder / _FILE, folder / _MARK, network, key
        self.record = PoolRecord(FORMAT, f"pool-{secrets.token_hex(4)}", 1, network.hash, network.size, {}, {}, {}, {})
        self._written = self._path.exists()
        if self._written:
            kept = PoolFile(self._path)
            kept.check(network.hash, network.size, None)
            self.record = kept.record

    @property
    def begins_again(self) -> bool:
        """Whether the pool is to begin again once enough boards are there."""
        return self._mark.exists()

    def mark_to_begin_again(self, erased: Mapping[str, int]) -> None:
        """Note that the pool is to begin again; until then it goes without the classes that were erased.

        Their samples lie in its scatter still.
        """
        replace_durably(self._mark, b"")
        before, known = self.moments(), self.record.erased
        left = [name for name in before.counts if erased.get(class_hash(name), 0) <= known.get(class_hash(name), 0)]
        if len(left) == len(before.counts):
            return
        counts = {name: before.counts[name] for name in left}
        share = np.float32(sum(counts.values()) / max(1, sum(before.counts.values())))
        totals = {name: before.totals[name] for name in left}
        self.keep(Moments.of_scatter(counts, totals, before.triangle() * share), self.record.counted, erased)

    def begin_again(self, moments: Moments, counted: Mapping[str, int], erased: Mapping[str, int]) -> None:
        """Replace the pool as :meth:`keep` does; it has begun again then."""
        self.keep(moments, counted, erased)
        remove(self._mark)

    def moments(self) -> Moments:
        """What all boards in it taught."""
        return PoolFile(self._path).moments() if self._written else Moments.none(self._network.size)

    def keep(self, moments: Moments, counted: Mapping[str, int], erased: Mapping[str, int]) -> None:
        """Replace the pool. Its version grows when anything differs.

        Args:
            counted: the version of each board that is in the sums.
            erased: how often each class was erased, by the hash of its name.

        Raises:
            DataError: when these are no sums of samples; what was kept before stays.
        """
        record, aside = (
            replace(self.record, counted=dict(counted), erased=dict(erased)),
            self._path.with_suffix(".next"),
        )
        record = write_pool(aside, record, moments, self.record if self._written else None, self._key)
        PoolFile(aside).check(self._network.hash, self._network.size, None)
        rename(aside, self._path)
        fsync_folder(self._path.parent)
        self.record, self._written = record, True

    def keep_sum_of(self, store: Store) -> dict[str, str]:
        """Replace the pool by the sum of all files of a store.

        Returns:
            The boards that are left out, with the reason: what they say can't be in one pool with the others.
        """
        left_out: dict[str, str] = {}
        taken: dict[str, int] = {}
        erased: dict[str, int] = {}
        classes: set[str] = set()
        for board, record in sorted(store.records.items()):
            more = all_erased(erased, record.erased)
            if len(more) > MOST_ERASED_BY_OTHERS or len({*classes, *record.images}) > MAX_CLASSES:
                left_out[board] = "with it there are more classes, or erased ones, than a pool holds"
                continue
            erased, taken[board], classes = more, record.version, classes | set(record.images)
        moments, size = Moments.none(self._network.size), self._network.size
        for board in taken:
            moments = moments.plus(Moments.of(not_erased(Knowledge(store.path(board)), erased), size))
        self.keep(moments, taken, erased)
        return left_out

    def missing(self, board: str | None, versions: Mapping[str, int]) -> list[str]:
        """The pool's name, when a board that has these versions of others lacks it."""
        name = self.record.board
        return [name] if self._written and versions.get(name, 0) < self.record.version else []

    def files(self, names: Iterable[str]) -> dict[str, bytes]:
        """The pool's file by its name."""
        return {name: self._path.read_bytes() for name in names}
