"""``lightcl-edge history``."""

from __future__ import annotations

import argparse
import time
from typing import TYPE_CHECKING

from lightcl_edge.commands.arguments import add_state
from lightcl_edge.console.program import Command
from lightcl_edge.console.text import Document, table

if TYPE_CHECKING:
    from lightcl_edge.bundle.bundle import Bundle
    from lightcl_edge.state.state import State

#: How many of the newest events are listed.
EVENTS = 20


class HistoryCommand(Command):
    """List the generations to which you can go back, and the newest events.

    Five generations are kept: the current one, those it was learned from, then the newest others. The files of each are
    checked against their hashes, and a damaged one is named.
    """

    name = "history"
    example = "lightcl-edge history --state state"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        add_state(parser)

    def run(self, args: argparse.Namespace) -> Document:
        from lightcl_edge.state import journal
        from lightcl_edge.state.state import State

        state = State(args.state)
        bundle, current = state.bundle(), state.current_number()
        return {
            "current": current,
            "exported_classes": _exported(state, bundle),
            "generations": [_entry(state, number, bundle) for number in state.numbers()],
            "events": journal.read(state.folder, EVENTS),
        }

    def render(self, document: Document) -> str:
        from lightcl_edge.state.generation import KEPT_GENERATIONS

        rows = []
        for entry in document["generations"]:
            mark = "*" if entry["generation"] == document["current"] else ""
            when = time.strftime("%Y-%m-%d %H:%M", time.localtime(entry["created"]))
            held_out = entry["holdout_accuracy"]
            accuracy = "damaged" if entry["problem"] else "-" if held_out is None else f"{held_out:.1%}"
            rows.append([f"{entry['generation']}{mark}", when, str(len(entry["classes"])), accuracy])
        mark = "*" if document["current"] == 0 else ""
        exported = document["exported_classes"]
        rows.insert(0, [f"0{mark}", "as exported", *(["?", "damaged"] if exported is None else [str(exported), "-"])])
        kept = f"* in use; the newest {KEPT_GENERATIONS} generations are kept"
        lines = [table(rows, ["generation", "created", "classes", "held-out accuracy, mean over classes"]), kept]
        lines += [entry["problem"] for entry in document["generations"] if entry["problem"]]
        if document["events"]:
            lines += ["", "events", *(_event_line(event) for event in document["events"])]
        return "\n".join(lines)


def _exported(state: State, bundle: Bundle) -> int | None:
    """How many classes generation 0 has; None where it is damaged."""
    from lightcl_edge.errors import BundleError, StateError

    try:
        return len(state.read(0, bundle).meta.classes)
    except (BundleError, StateError):
        return None


def _entry(state: State, number: int, bundle: Bundle) -> Document:
    """What is known of a generation, damaged or not."""
    from lightcl_edge.errors import StateError
    from lightcl_edge.state.generation import Meta
    from lightcl_edge.state.sums_files import check_sums

    problem = None
    meta = Meta(number, 0.0, "", [])
    try:
        meta = state.meta(number)
        check_sums(state.read(number, bundle).sums)
    except StateError as error:
        problem = str(error)
    return {
        "generation": number,
        "created": meta.created,
        "parent": meta.parent,
        "classes": meta.classes,
        "holdout_accuracy": meta.holdout_accuracy,
        "strategy": meta.strategy,
        "engine": meta.engine,
        "images": meta.images,
        "renumbered_from": meta.renumbered_from,
        "problem": problem,
    }


def _event_line(event: Document) -> str:
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(_number(event.get("time"))))
    details = ", ".join(f"{key} {value}" for key, value in event.items() if key not in ("time", "event"))
    return f"  {when}  {event['event']}" + (f"  {details}" if details else "")


def _number(value: object) -> float:
    """A time from the journal, a file that anybody may have changed."""
    return float(value) if isinstance(value, int | float) and 0 <= value < 2**32 else 0.0
