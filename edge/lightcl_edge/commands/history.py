"""``lightcl-edge history``."""

from __future__ import annotations

import argparse
import time

from lightcl_edge.commands.arguments import add_state
from lightcl_edge.console import Command, Document, table


class HistoryCommand(Command):
    """List the generations that are kept and can be rolled back to."""

    name = "history"
    example = "lightcl-edge history --state state"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare the command's own arguments."""
        add_state(parser)

    def run(self, args: argparse.Namespace) -> Document:
        """Read every generation's record."""
        from lightcl_edge.state import State

        state = State(args.state)
        state.bundle()
        current = state.current_number()
        metas = [state.meta(number) for number in state.numbers()]
        return {
            "current": current,
            "generations": [
                {
                    "generation": meta.generation,
                    "created": meta.created,
                    "classes": meta.classes,
                    "holdout_accuracy": meta.holdout_accuracy,
                    "strategy": meta.strategy,
                    "engine": meta.engine,
                    "images": meta.images,
                }
                for meta in metas
            ],
        }

    def render(self, document: Document) -> str:
        """A table, the current generation marked."""
        rows = []
        for entry in document["generations"]:
            mark = "*" if entry["generation"] == document["current"] else ""
            when = time.strftime("%Y-%m-%d %H:%M", time.localtime(entry["created"]))
            held_out = entry["holdout_accuracy"]
            accuracy = "-" if held_out is None else f"{held_out:.1%}"
            rows.append([f"{entry['generation']}{mark}", when, str(len(entry["classes"])), accuracy])
        return table(rows, ["generation", "created", "classes", "held-out accuracy"]) + "\n* in use"
