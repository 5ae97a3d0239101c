"""A round in which the server sees no board's sums, only what several boards taught together."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Annotated, NamedTuple, Protocol

from lightcl_edge.bundle.manifest import MAX_CLASSES
from lightcl_edge.console.text import Document
from lightcl_edge.data.class_names import class_name_fault
from lightcl_edge.errors import DataError
from lightcl_edge.files.records import Check, between, read_record
from lightcl_edge.files.tensors import DoubleArray
from lightcl_edge.fleet.fixed_point import Layout, sum_bits
from lightcl_edge.fleet.knowledge import LARGEST_TAP
from lightcl_edge.fleet.moments import Moments
from lightcl_edge.fleet.recorded_file import MAX_IMAGES
from lightcl_edge.state.board import MAX_VERSION, MOST_ERASED_BY_OTHERS, BoardName, Erased, all_erased
from lightcl_edge.state.sums_files import class_hash
from lightcl_host.fleet.pool_keeper import PoolKeeper
from lightcl_host.fleet.rounds import Link, Packet, Round, ask, hand_out

ANNOUNCE = "query.announce"
#: Fewer boards with something new are not added up: one board's sum would be its own.
LEAST_BOARDS = 3
#: A board whose numbers are so large that a usual board's would be rounded by more than this share is left out.
_ROUNDED = 1e-5
#: Of each number that a board sends.
_MASKED_BYTES = 8
_ARE_CLASSES = Check(
    lambda names: len(names) <= MAX_CLASSES and not any(map(class_name_fault, names)),
    f"at most {MAX_CLASSES} printable names",
)
_ARE_TWO = Check(lambda numbers: len(numbers) == 2, "two numbers")


@dataclass(frozen=True)
class Announcement:
    """What a board says before sums are added up; see ``Kept.announcement``."""

    board: BoardName
    version: Annotated[int, between(1, MAX_VERSION)]
    classes: Annotated[list[str], _ARE_CLASSES]
    erasures: Erased
    largest: Annotated[list[Annotated[float, between(0, LARGEST_TAP**2 * MAX_IMAGES)]], _ARE_TWO] | None = None


class Added(NamedTuple):
    """A sum of boards' vectors, whose they are, and what went wrong at other nodes."""

    vector: DoubleArray
    nodes: frozenset[int]
    failures: Mapping[int, str] = {}


class SecureLink(Link, Protocol):
    """A way to boards that also adds up their vectors, and shows nobody a single one."""

    def add(self, orders: Mapping[int, Document], bits: int, least: int) -> Added | str:
        """The sum of the vectors of at least so many boards, each made as its order says, or why there is none."""


@dataclass
class _Answers:
    """Of the boards that are there: what they said, and of those that can be read what it means."""

    packets: dict[int, Packet]
    boards: dict[int, Announcement] = field(default_factory=dict)

    def erased(self, before: Mapping[str, int]) -> dict[str, int]:
        found = dict(before)
        for each in self.boards.values():
            found = all_erased(found, each.erasures)
        return found


def play_secure_round(number: int, link: SecureLink, keeper: PoolKeeper, least: int) -> Round:
    """One round. A board that fails or goes away is named in the result; the others go on.

    The pool begins again with the boards that are there when a class of it was erased, or when a board has lost what
    the pool counts of it: nobody else could say what to take away. It waits for enough of them.

    Args:
        least: so many boards must have something new, at least 2.
    """
    started, done = time.perf_counter(), Round(number)
    answers = _announcements(done, link, keeper, keeper.record.counted)
    erased = answers.erased(keeper.record.erased)
    known = {class_hash(name) for name in keeper.record.images}
    outdated = any(erased.get(key, 0) > keeper.record.erased.get(key, 0) for key in known)
    lost = [
        each.board for each in answers.boards.values() if each.largest is None and each.board in keeper.record.counted
    ]
    afresh = outdated or bool(lost) or keeper.begins_again
    if afresh:
        keeper.mark_to_begin_again(erased)
        reasons = ["a class was erased"] * outdated + [f"{board} lost what it had shared" for board in sorted(lost)]
        done.note = "; ".join([f"the pool begins again once {least} boards are there", *reasons])
        answers = _announcements(done, link, keeper, {})
    _add(done, link, keeper, answers, least, afresh)
    if (erased := answers.erased(keeper.record.erased)) != keeper.record.erased:
        keeper.keep(keeper.moments(), keeper.record.counted, erased)
    hand_out(done, link, answers.packets, keeper)
    done.seconds = time.perf_counter() - started
    return done


def _announcements(done: Round, link: SecureLink, keeper: PoolKeeper, counted: Mapping[str, int]) -> _Answers:
    """What each board has. Of two with one name the second is left out, and who says what can't be."""
    document = {"counted": dict(counted), "erased": keeper.record.erased}
    answers = _Answers(ask(done, link, ANNOUNCE, {node: Packet(document) for node in link.nodes()}))
    names: dict[str, int] = {}
    for node in sorted(answers.packets):
        if not answers.packets[node].document:
            continue  # a new board
        try:
            said = read_record(Announcement, answers.packets[node].document, "", ValueError, "an announcement")
            if names.setdefault(said.board, node) != node:
                raise ValueError(f"node {names[said.board]} is called {said.board} too; each board needs its own name")
            if len(answers.erased(keeper.record.erased) | said.erasures) > MOST_ERASED_BY_OTHERS:
                raise ValueError(f"with it more than {MOST_ERASED_BY_OTHERS:,} classes are erased")
        except ValueError as error:
            done.failures[node] = str(error)
            del answers.packets[node]
            continue
        answers.boards[node] = said
    return answers


def _add(done: Round, link: SecureLink, keeper: PoolKeeper, answers: _Answers, least: int, afresh: bool) -> None:
    """Add what boards taught since the pool counted them, or all that they taught where it begins ``afresh``."""
    counted, erased = {} if afresh else keeper.record.counted, answers.erased(keeper.record.erased)
    new = {
        node: each
        for node, each in answers.boards.items()
        if each.version != counted.get(each.board) and each.largest is not None
    }
    _leave_out_giants(done, new)
    classes = sorted({*keeper.record.images, *(name for each in new.values() for name in each.classes)})
    if len(new) < least or len(classes) > MAX_CLASSES:
        if new:
            done.note = done.note or f"{len(new)} of the {least} boards that are needed have something new"
        return
    most = [max(each.largest[part] for each in new.values() if each.largest) for part in (0, 1)]
    layout = Layout.of(classes, keeper.record.size, len(new), *most)
    orders = {
        node: {
            "layout": asdict(layout),
            "version": each.version,
            "before": counted.get(each.board, 0),
            "erased": erased,
        }
        for node, each in new.items()
    }
    added = link.add(orders, layout.bits, least)
    if isinstance(added, str) or len(added.nodes) < least:
        reason = added if isinstance(added, str) else "too few boards answered"
        done.note = "; ".join(filter(None, [done.note, f"nothing was added up: {reason}"]))
        return
    done.failures |= added.failures
    for node in added.nodes:
        done.received_bytes[node] = done.received_bytes.get(node, 0) + _MASKED_BYTES * len(added.vector)
    now = {new[node].board: new[node].version for node in added.nodes}
    before = Moments.none(keeper.record.size) if afresh else keeper.moments()
    keep = keeper.begin_again if afresh else keeper.keep
    try:
        keep(before.plus(layout.decode(added.vector)), {**counted, **now}, erased)
    except (DataError, ValueError) as error:
        done.note = f"the sum of {', '.join(sorted(now))} is not taken, one of them lies: {error}"
        return
    done.taken = {board: {"version": version} for board, version in now.items()}
    if afresh:
        done.note = done.note.replace(f"begins again once {least} boards are there", "has begun again")


def _leave_out_giants(done: Round, new: dict[int, Announcement]) -> None:
    """Boards with numbers that are out of all proportion are named and not added."""
    most_times = _ROUNDED * 2 ** (sum_bits(len(new)) - 1)
    for part in (0, 1):
        sizes = {node: each.largest[part] for node, each in new.items() if each.largest}
        usual = statistics.median(sizes.values()) if sizes else 0.0
        for node, size in sizes.items():
            if usual and size > most_times * usual:
                done.failures[node] = (
                    f"its numbers are {size / usual:,.0f} times the others', expected {most_times:,.0f}"
                )
                del new[node]
