"""What the server keeps: the newest knowledge file of each board, in a folder that outlives every run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lightcl_edge.data.sums import BoardVersion
from lightcl_edge.errors import StorageError
from lightcl_edge.files.durable import fsync_folder, make_folders, remove, rename, write_durably
from lightcl_edge.fleet.arrivals import sort_out
from lightcl_edge.fleet.knowledge import Knowledge
from lightcl_edge.fleet.member import label
from lightcl_edge.fleet.recorded_file import Record

#: The board of the server itself: no board has this name, so none is taken for it.
_NOBODY = ""
_ENDING = ".knowledge"


@dataclass(frozen=True)
class Network:
    """What knowledge must belong to.

    Attributes:
        hash: of the network that makes taps.
        size: numbers in a sample.
        key: public key that must have signed, hexadecimal; None for no matter who.
    """

    hash: str
    size: int
    key: str | None = None


@dataclass(frozen=True)
class Refusal:
    """What came from a board and is not used.

    Attributes:
        node: Flower's number of the node that sent it.
        board: that the file names; None where it can't be read.
        kind: of the error; None for a file that is only old.
    """

    node: int
    board: str | None
    kind: str | None
    reason: str


class Store:
    """A folder with one file a board. It is changed by whole files, so a crash leaves the old one or the new one."""

    def __init__(self, folder: Path, network: Network) -> None:
        self._boards, self._incoming, self._network = folder / "boards", folder / "incoming", network
        for each in (self._boards, self._incoming):
            make_folders(each)
        for left in self._incoming.iterdir():  # of a server that was stopped: the board sends it again
            remove(left)
        self._records: dict[str, Record] = {}
        for path in sorted(self._boards.glob(f"*{_ENDING}")):
            knowledge = Knowledge(path)
            knowledge.check(network.hash, network.size, network.key)
            self._records[knowledge.record.board] = knowledge.record

    @property
    def records(self) -> Mapping[str, Record]:
        """What each board says of its knowledge."""
        return self._records

    def labels(self) -> dict[str, str]:
        """The label of each board's newest file."""
        return {board: label(record.version, record.digest) for board, record in self._records.items()}

    def versions(self) -> dict[str, int]:
        """The version of each board's newest file."""
        return {board: record.version for board, record in self._records.items()}

    def path(self, board: str) -> Path:
        """The file of a board."""
        return self._boards / f"{board}{_ENDING}"

    def take(self, files: Mapping[int, bytes]) -> tuple[Sequence[Record], Sequence[Refusal]]:
        """Keep what is new, by the rules of ``merge``; gives what was taken and what was not.

        Args:
            files: what came, by the node that sent it.

        Raises:
            StorageError: when the folder can't be written.
        """
        try:
            paths = {self._write(node, content): node for node, content in files.items()}
            known = {board: BoardVersion(each.version, each.digest) for board, each in self._records.items()}
            network = self._network
            arrivals = sort_out(paths, _NOBODY, known, network.hash, network.size, network.key, Knowledge)
            for knowledge in arrivals.boards:
                rename(knowledge.path, self.path(knowledge.record.board))
                self._records[knowledge.record.board] = knowledge.record
            fsync_folder(self._boards)
            for path in paths:
                if path.exists():
                    remove(path)
        except OSError as error:
            raise StorageError(f"the fleet's folder can't be written: {error}") from error
        refusals = [
            Refusal(paths[each.file], each.board, each.refused.kind if each.refused else None, each.reason)
            for each in arrivals.ignored
        ]
        return [each.record for each in arrivals.boards], refusals

    def _write(self, node: int, content: bytes) -> Path:
        path = self._incoming / f"{node}{_ENDING}"
        write_durably(path, content)
        return path

    def missing(self, board: str | None, versions: Mapping[str, int]) -> list[str]:
        """The boards of whom another board lacks the newest.

        Args:
            board: that asks; None for one without a state.
            versions: what it has of others.
        """
        return [
            each
            for each, record in sorted(self._records.items())
            if each != board and versions.get(each, 0) < record.version
        ]

    def files(self, boards: Iterable[str]) -> dict[str, bytes]:
        """The files of boards."""
        return {board: self.path(board).read_bytes() for board in boards}
