"""``lightcl-edge history``."""

from __future__ import annotations

import argparse
import time

from lightcl_edge.commands.arguments import add_state
from lightcl_edge.console.program import Command
from lightcl_edge.console.text import Document, table


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
        from dataclasses import asdict

        from lightcl_edge.state.overview import history_of
        from lightcl_edge.state.state import State

        return asdict(history_of(State(args.state)))

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


def _event_line(event: Document) -> str:
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(_number(event.get("time"))))
    details = ", ".join(f"{key} {value}" for key, value in event.items() if key not in ("time", "event"))
    return f"  {when}  {event['event']}" + (f"  {details}" if details else "")


def _number(value: object) -> float:
    """A time from the journal, a file that anybody may have changed."""
    return float(value) if isinstance(value, int | float) and 0 <= value < 2**32 else 0.0
