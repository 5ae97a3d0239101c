"""A round in which the server sees no board's sums, only what several boards taught together."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict
from typing import NamedTuple, Protocol

from lightcl_edge.console.text import Document
from lightcl_edge.errors import DataError
from lightcl_edge.files.tensors import DoubleArray
from lightcl_edge.fleet.fixed_point import Layout
from lightcl_edge.fleet.moments import Moments
from lightcl_edge.state.sums_files import class_hash
from lightcl_host.fleet.pool_keeper import PoolKeeper
from lightcl_host.fleet.rounds import Link, Packet, Round, ask, hand_out

ANNOUNCE = "query.announce"
#: Fewer boards with something new are not added up: one board's sum would be its own.
LEAST_BOARDS = 3
#: Of each number that a board sends.
_MASKED_BYTES = 8


class Added(NamedTuple):
    """A sum of boards' vectors, and whose they are."""

    vector: DoubleArray
    nodes: frozenset[int]


class SecureLink(Link, Protocol):
    """A way to boards that also adds up their vectors, and shows nobody a single one."""

    def add(self, orders: Mapping[int, Document], bits: int) -> Added | str:
        """The sum of the vectors of boards, each made as its order says, or why there is none."""


def play_secure_round(number: int, link: SecureLink, keeper: PoolKeeper, least: int) -> Round:
    """One round. A board that fails or goes away is named in the result; the others go on.

    The pool begins again with the boards that are there when a class of it was erased, or when a board has lost what
    the pool counts of it: nobody else could say what to take away.

    Args:
        least: so many boards must have something new.
    """
    started, done = time.perf_counter(), Round(number)
    answers = _announcements(done, link, keeper)
    erased = _erasures(keeper, answers)
    known = {class_hash(name) for name in keeper.record.images}
    outdated = [key for key in known if erased.get(key, 0) > keeper.record.erased.get(key, 0)]
    if outdated or any("lost" in each.document for each in answers.values()):
        keeper.keep(Moments.none(keeper.record.size), {}, erased)
        answers = _announcements(done, link, keeper)
        done.note = "the pool begins again: a class was erased, or a board lost what it had shared"
    _add(done, link, keeper, answers, least)
    if (erased := _erasures(keeper, answers)) != keeper.record.erased:
        keeper.keep(keeper.moments(), keeper.record.counted, erased)
    hand_out(done, link, answers, keeper)
    done.seconds = time.perf_counter() - started
    return done


def _announcements(done: Round, link: SecureLink, keeper: PoolKeeper) -> dict[int, Packet]:
    """What each board has; of two with one name the second is left out."""
    document = {"counted": keeper.record.counted, "erased": keeper.record.erased}
    answers = ask(done, link, ANNOUNCE, {node: Packet(document) for node in link.nodes()})
    names: dict[str, int] = {}
    for node in sorted(answers):
        name = answers[node].document.get("board")
        if name is not None and names.setdefault(str(name), node) != node:
            done.failures[node] = f"node {names[str(name)]} is called {name} too; a fleet needs a name for each board"
            del answers[node]
    return answers


def _erasures(keeper: PoolKeeper, answers: Mapping[int, Packet]) -> dict[str, int]:
    found = dict(keeper.record.erased)
    for answer in answers.values():
        for key, count in answer.document.get("erasures", {}).items():
            found[key] = max(int(count), found.get(key, 0))
    return found


def _add(done: Round, link: SecureLink, keeper: PoolKeeper, answers: Mapping[int, Packet], least: int) -> None:
    """Add what boards taught since the pool counted them."""
    boards = {node: answer.document for node, answer in answers.items() if "largest" in answer.document}
    counted, erased = keeper.record.counted, _erasures(keeper, answers)
    new = [each for each in boards.values() if each["version"] != counted.get(each["board"])]
    if len(new) < least:
        if new:
            done.note = f"{len(new)} of the {least} boards that are needed have something new"
        return
    classes = sorted({*keeper.record.images, *(name for each in boards.values() for name in each["classes"])})
    most = (max(float(each["largest"][part]) for each in boards.values()) for part in (0, 1))
    layout = Layout.of(classes, keeper.record.size, len(boards), *most)
    orders = {
        node: {
            "layout": asdict(layout),
            "version": each["version"],
            "before": counted.get(each["board"], 0),
            "erased": erased,
        }
        for node, each in boards.items()
    }
    added = link.add(orders, layout.bits)
    if isinstance(added, str):
        done.note = f"nothing was added up: {added}"
        return
    for node in added.nodes:
        done.received_bytes[node] += _MASKED_BYTES * len(added.vector)
    now = {boards[node]["board"]: boards[node]["version"] for node in added.nodes}
    try:
        keeper.keep(keeper.moments().plus(layout.decode(added.vector)), {**counted, **now}, erased)
    except (DataError, ValueError) as error:
        done.note = f"the sum of {', '.join(sorted(now))} is not taken, one of them lies: {error}"
        return
    done.taken = {board: {"version": version} for board, version in now.items() if version != counted.get(board)}
