"""``lightcl-edge history``."""

from __future__ import annotations

import argparse
import time

from lightcl_edge.commands.arguments import add_state
from lightcl_edge.console import Command, Document, table

#: As in :mod:`lightcl_edge.state`, which a --help must not import.
KEPT_GENERATIONS = 5


class HistoryCommand(Command):
    """List the generations that are kept and can be rolled back to: the newest five."""

    name = "history"
    example = "lightcl-edge history --state state"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare the command's own arguments."""
        add_state(parser)

    def run(self, args: argparse.Namespace) -> Document:
        """Read every generation's record."""
        from lightcl_edge.state import State

        state = State(args.state)
        bundle = state.bundle()
        current = state.current_number()
        metas = [state.meta(number) for number in state.numbers()]
        return {
            "current": current,
            "exported_classes": len(bundle.manifest.classes),
            "generations": [
                {
                    "generation": meta.generation,
                    "created": meta.created,
                    "parent": meta.parent,
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
        mark = "*" if document["current"] == 0 else ""
        rows.insert(0, [f"0{mark}", "as exported", str(document["exported_classes"]), "-"])
        kept = f"* in use; the newest {KEPT_GENERATIONS} generations are kept"
        return table(rows, ["generation", "created", "classes", "held-out accuracy"]) + f"\n{kept}"
