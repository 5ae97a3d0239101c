"""A round: ask every board that is there what it taught, keep the newest of each, and send back what each lacks."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from lightcl_edge.console.text import Document
from lightcl_edge.errors import DataError
from lightcl_edge.state.board import is_board_name
from lightcl_host.fleet.pool_keeper import PoolKeeper
from lightcl_host.fleet.store import Refusal, Store

#: What a server asks of a board, as Flower's message types.
SHARE, MERGE = "query.share", "train.merge"


@dataclass(frozen=True)
class Packet:
    """A message either way: a document that JSON can carry, and files by name."""

    document: Document = field(default_factory=dict)
    files: Mapping[str, bytes] = field(default_factory=dict)

    @property
    def file_bytes(self) -> int:
        """Size of the files."""
        return sum(map(len, self.files.values()))


class Source(Protocol):
    """What boards get: files of boards, or a pool."""

    def missing(self, board: str | None, versions: Mapping[str, int]) -> list[str]:
        """What a board lacks that has these versions of others; its name is None where it has no state."""

    def files(self, names: Iterable[str]) -> dict[str, bytes]:
        """The files of these names."""


class Link(Protocol):
    """The way to the boards."""

    def nodes(self) -> Sequence[int]:
        """The boards that are there now, by their number."""

    def ask(self, what: str, packets: Mapping[int, Packet]) -> Mapping[int, Packet | str]:
        """Send each board a packet and wait for the answers.

        Returns:
            By board its answer, or what went wrong; nothing of a board that did not answer in time.
        """


@dataclass
class Round:
    """What happened in a round.

    Attributes:
        boards: by node the name; None for one without a state.
        taken: by board version and classes.
        merged: by board what its ``merge`` said.
        failures: by node what went wrong there.
        received_bytes: of files, by node; ``sent_bytes`` the same the other way.
        heads: boards that took in an averaged head.
        note: what else a person should know.
    """

    number: int
    boards: dict[int, str | None] = field(default_factory=dict)
    taken: dict[str, Document] = field(default_factory=dict)
    refused: list[Refusal] = field(default_factory=list)
    merged: dict[int, Document] = field(default_factory=dict)
    failures: dict[int, str] = field(default_factory=dict)
    received_bytes: dict[int, int] = field(default_factory=dict)
    sent_bytes: dict[int, int] = field(default_factory=dict)
    seconds: float = 0.0
    heads: int = 0
    note: str = ""


def play_round(number: int, link: Link, store: Store, keeper: PoolKeeper | None = None) -> Round:
    """One round. A board that fails, lies or goes away is named in the result; the others go on.

    Args:
        keeper: of the pool that boards get; None where they get each other's files.
    """
    started, done = time.perf_counter(), Round(number)
    answers = ask(done, link, SHARE, {node: Packet({"known": store.labels()}) for node in link.nodes()})
    _take(done, store, answers)
    if keeper is not None and store.versions() != keeper.record.counted:
        _pool(done, store, keeper)
    answers = hand_out(done, link, answers, keeper or store)
    _take(done, store, answers)  # of boards that dropped what another has erased
    done.seconds = time.perf_counter() - started
    return done


def _pool(done: Round, store: Store, keeper: PoolKeeper) -> None:
    """Replace the pool by the sum of the store. What can't be summed is named, and the pool before stays."""
    try:
        left_out = keeper.keep_sum_of(store)
    except (DataError, ValueError) as error:
        done.note = f"the pool stays as it was: {error}"
        return
    done.note = "; ".join(f"{board} is not in the pool: {reason}" for board, reason in left_out.items())


def hand_out(done: Round, link: Link, answers: Mapping[int, Packet], source: Source) -> dict[int, Packet]:
    """Send each board that answered what it lacks; gives what they say then."""
    wanted: dict[int, list[str]] = {}
    for node, answer in answers.items():
        done.boards[node], versions = _names(answer.document)
        wanted[node] = source.missing(done.boards[node], versions)
    files = source.files({name for names in wanted.values() for name in names})  # each once, whoever gets it
    orders = {node: Packet(files={name: files[name] for name in names}) for node, names in wanted.items() if names}
    merged = ask(done, link, MERGE, orders)
    done.merged = {node: _said(answer.document) for node, answer in merged.items()}
    return merged


def ask(done: Round, link: Link, what: str, packets: Mapping[int, Packet]) -> dict[int, Packet]:
    """The answers that can be used."""
    found: dict[int, Packet] = {}
    for node, packet in packets.items():
        done.sent_bytes[node] = done.sent_bytes.get(node, 0) + packet.file_bytes
    for node, answer in link.ask(what, packets).items():
        if isinstance(answer, str):
            done.failures[node] = _text(answer)
            continue
        done.received_bytes[node] = done.received_bytes.get(node, 0) + answer.file_bytes
        if isinstance(error := answer.document.get("error"), dict):
            done.failures[node] = _text(f"{error.get('kind')}: {error.get('message')}")
            if what != MERGE:
                continue
        found[node] = answer
    for node in packets:
        if node not in found and node not in done.failures:
            done.failures[node] = f"no answer to {what}"
    return found


def _take(done: Round, store: Store, answers: Mapping[int, Packet]) -> None:
    files = {node: file for node, answer in answers.items() for file in answer.files.values()}
    taken, refused = store.take(files)
    done.refused += refused
    for record in taken:
        done.taken[record.board] = {"version": record.version, "images": record.images, "erased": len(record.erased)}


def _said(document: Document) -> Document:
    """What counts of the answer to a merge, whatever a board made of it."""
    found = {
        name: document[name] for name in ("peak_rss_bytes", "seconds") if isinstance(document.get(name), int | float)
    }
    merged, ignored = (document.get(name) for name in ("merged", "ignored"))
    found["merged"] = len(merged) if isinstance(merged, list) else 0
    found["ignored"] = [
        {name: _text(each.get(name)) for name in ("board", "reason")}
        for each in (ignored if isinstance(ignored, list) else [])
        if isinstance(each, dict)
    ]
    return found


def _text(value: object) -> str:
    """At most 500 characters that can be written anywhere."""
    return str(value)[:500].encode("utf-8", "replace").decode()


def _names(document: Document) -> tuple[str | None, dict[str, int]]:
    """The name that a board says, and the versions it has of others. What it makes up does harm to itself only."""
    board, versions = document.get("board"), document.get("boards")
    known = versions if isinstance(versions, dict) else {}
    return board if isinstance(board, str) and is_board_name(board) else None, {
        str(name): version for name, version in known.items() if isinstance(version, int)
    }
