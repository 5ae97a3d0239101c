"""What several boards taught of one class, kept apart by board.

Sums that came from a board can then be replaced by its newer ones, and nothing is counted twice. A *pool* is what many
boards taught, known only as one sum: it stands beside them like one more board, whose classes share one scatter.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from lightcl_edge.data.class_sums import ClassSums
from lightcl_edge.files.tensors import FloatArray

#: The board's name of samples that the bundle brought: every board has them itself, so none shares them.
BUNDLE_BOARD = "(bundle)"


class KnownSums(Protocol):
    """The sums of a class that may still lie on the disk."""

    @property
    def count(self) -> int:
        """How many samples."""

    def read(self) -> ClassSums:
        """The sums. Each call may read them anew: 50 classes at once would take a device's memory."""


@dataclass(frozen=True)
class SharedSums:
    """The sums of one class by board. There is at least one part.

    Attributes:
        own: what this board taught itself; None for nothing.
        others: what came from each other board, by its name.
    """

    own: KnownSums | None
    others: Mapping[str, KnownSums] = field(default_factory=dict)

    @property
    def count(self) -> int:
        """Samples of all boards together."""
        return sum(part.count for part in self.parts())

    def read(self) -> ClassSums:
        """The sums of all boards together, always joined in the same order."""
        first, *more = self.parts()
        joined = first.read()
        for part in more:
            joined = joined.merge(part.read())
        return joined

    def parts(self) -> list[KnownSums]:
        """All of them, this board's own first."""
        own = [] if self.own is None else [self.own]
        return own + [self.others[board] for board in sorted(self.others)]


def by_board(known: KnownSums | None) -> SharedSums:
    """The parts of a class's sums; those of one part are this board's own."""
    return known if isinstance(known, SharedSums) else SharedSums(known)


class KnownScatter(Protocol):
    """A scatter that may still lie on the disk."""

    def read(self) -> FloatArray:
        """Its upper triangle, row by row."""


@dataclass(frozen=True)
class Pool:
    """What sums of a pool have beside the counts and totals of its classes, which are parts of the pool's name.

    Attributes:
        boards: which version of each board it counts.
        images: that its scatter is of. Of fewer, after a class was forgotten, the same share of it is taken.
        scatter: of all its samples around their own class's mean.
    """

    boards: Mapping[str, int]
    images: int
    scatter: KnownScatter
