"""The fleet's page: boards, classes and who saw them, and every round. It refers to nothing outside itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from typing import NamedTuple

from lightcl_edge.console.text import Document, count, format_bytes
from lightcl_edge.fleet.pool import PoolRecord
from lightcl_edge.fleet.recorded_file import Record
from lightcl_profiler.reports.page import Column, Table, columns, render


class Section(NamedTuple):
    """A table with its heading, and a note below it."""

    title: str
    table: Table
    note: str = ""


def page(title: str, lead: str, sections: Sequence[Section], command: str = "") -> str:
    """A page of tables in the style of the other reports."""
    return render("fleet.html", "lightcl_host.fleet", title=title, lead=lead, sections=sections, command=command)


def fleet_page(records: Mapping[str, Record], rounds: Sequence[Document]) -> str:
    """The page of a fleet.

    Args:
        records: what the server has of each board, or of a pool where it has no more.
        rounds: the lines of ``rounds.jsonl``, oldest first; at least one.
    """
    classes = {name for record in records.values() for name in record.images}
    boards = sum(len(record.counted) if isinstance(record, PoolRecord) else 1 for record in records.values())
    lead = (
        f"{count(boards, 'board')} know {count(len(classes), 'class')} together. "
        f"Last round: {_when(rounds[-1])}, {count(len(rounds[-1]['boards']), 'board')} there."
    )
    return page("Boards that learn together", lead, [_boards(records, rounds), _classes(records), _rounds(rounds)])


def _boards(records: Mapping[str, Record], rounds: Sequence[Document]) -> Section:
    """A row a board; what was sent is counted by the node that had its name in a round."""
    seen: dict[str, str] = {}
    sent: dict[str, int] = {}
    received: dict[str, int] = {}
    trouble: dict[str, str] = {}
    for done in rounds:
        for node, board in done["boards"].items():
            if board is None:
                continue
            seen[board] = _when(done)
            sent[board] = sent.get(board, 0) + done["sent_bytes"].get(node, 0)
            received[board] = received.get(board, 0) + done["received_bytes"].get(node, 0)
            trouble[board] = done["failures"].get(node, "")
        trouble |= {each["board"]: f"refused: {each['reason']}" for each in done["refused"] if each["board"]}
    versions = {board: record.version for board, record in records.items()}
    for record in records.values():
        versions |= record.counted if isinstance(record, PoolRecord) else {}
    rows = [
        [
            board,
            str(versions.get(board, "")),
            _listed(records[board].images) if board in records else "",
            seen.get(board, ""),
            format_bytes(received.get(board, 0)),
            format_bytes(sent.get(board, 0)),
            trouble.get(board, ""),
        ]
        for board in sorted({*records, *seen, *trouble})
    ]
    names = ("board", "version", "classes (images)", "last there", "it sent", "it got", "last trouble")
    return Section("Boards", Table(columns("", *names), rows))


def _classes(records: Mapping[str, Record]) -> Section:
    names = sorted({name for record in records.values() for name in record.images})
    rows = []
    for name in names:
        boards = {board: record.images[name] for board, record in sorted(records.items()) if name in record.images}
        rows.append([name, f"{sum(boards.values()):,}", _listed(boards)])
    return Section("Classes", Table(columns("", "class", "images", "who saw it (images)"), rows))


def _rounds(rounds: Sequence[Document]) -> Section:
    rows = [
        [
            _when(done),
            str(len(done["boards"])),
            str(len(done["taken"])),
            str(sum(bool(each.get("merged")) for each in done["merged"].values())),
            str(len(done["refused"])),
            str(len(done["failures"])),
            format_bytes(sum(done["received_bytes"].values())),
            format_bytes(sum(done["sent_bytes"].values())),
            f"{done['seconds']:.1f} s",
            _share(done.get("accuracy_before")),
            _share(done.get("accuracy_after")),
        ]
        for done in reversed(rounds)
    ]
    names = ("ended", "boards there", "something new", "took it in", "refused", "failed", "received", "sent", "time")
    more = [Column("accuracy before"), Column("accuracy after")]
    note = (
        "Accuracy is on the server's own test pictures (test), with all that it had before and after the round. "
        "Those of a class that nobody has taught count as wrong."
    )
    return Section("Rounds", Table([*columns("", *names), *more], rows), note)


def _listed(images: Mapping[str, int]) -> str:
    shown = [f"{name} ({number:,})" for name, number in sorted(images.items())]
    return ", ".join(shown[:20]) + (f" and {len(shown) - 20} more" if len(shown) > 20 else "")


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.1%}"


def _when(done: Document) -> str:
    return datetime.fromtimestamp(done["ended"], timezone.utc).strftime("%Y-%m-%d %H:%M:%S UTC")
