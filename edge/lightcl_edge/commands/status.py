"""``lightcl-edge status``."""

import argparse

from lightcl_edge.commands.arguments import add_state, add_verbose
from lightcl_edge.console.program import Command
from lightcl_edge.console.text import Document, count, format_bytes


class StatusCommand(Command):
    """Say what a state directory holds: generation, classes, bundle, bytes written so far."""

    name = "status"
    example = "lightcl-edge status --state state"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        add_state(parser)
        add_verbose(parser, "why the engine was chosen")

    def run(self, args: argparse.Namespace) -> Document:
        from dataclasses import asdict

        from lightcl_edge.state.overview import status_of
        from lightcl_edge.state.state import State

        return asdict(status_of(State(args.state)))

    def render(self, document: Document) -> str:
        from lightcl_edge.machine.cooling import health_line

        bundle, buffer, held_out = document["bundle"], document["buffer"], document["held_out"]
        accuracy = document["holdout_accuracy"]
        lines = [
            f"generation {document['generation']}: {count(len(document['classes']), 'class')} after "
            f"{count(document['tasks'], 'task')}"
            + ("" if accuracy is None else f", held-out accuracy {accuracy:.1%} (mean over classes)"),
            f"  classes ({len(document['classes'])} of {document['capacity']}): "
            + (", ".join(_with_images(document)) or "none yet"),
            f"  bundle {bundle['model']}, cut at {bundle['cut']}, {bundle['trunk_dtype']} trunk",
            f"  feature buffer: {count(buffer['samples'], 'sample')}, {format_bytes(buffer['bytes'])}; "
            f"held out: {held_out['samples']}, {format_bytes(held_out['bytes'])}",
            f"  {format_bytes(document['bytes_written_total'])} written to disk in all, "
            f"{format_bytes(document['bytes_written_last_task'])} by the last task",
        ]
        if document["strategy"]:
            lines.insert(2, _last_task(document))
        if document["boards"]:
            lines.append("  from other boards: " + ", ".join(map(_of_board, document["boards"])))
        if (trial := document["updates"]["trial"]) and trial["identity"] == bundle["identity"]:
            lines.append(f"  the bundle of offer {trial['number']} is on trial until it has predicted")
        if document["updates"]["failed"]:
            lines.append("  offer {failed} failed: {reason}".format(**document["updates"]))
        if line := health_line(document["health"]):
            lines.append(f"  {line}")
        if document["interrupted_task"]:
            lines.append("  a task was interrupted; run its train command again to go on")
        return "\n".join(lines)

    def render_details(self, document: Document) -> str:
        return f"engine {document['engine']}: {document['engine_reason']}" if document["engine"] else "no task yet"


def _with_images(document: Document) -> list[str]:
    """The classes with how many images each was taught with; nothing beside those that came with the bundle."""
    taught = document["images_by_class"]
    return [f"{name} ({count(taught[name], 'image')})" if taught[name] else name for name in document["classes"]]


def _of_board(board: Document) -> str:
    return f"{board['board']} (version {board['version']}, {count(len(board['images_by_class']), 'class')})"


def _last_task(document: Document) -> str:
    line = f"  last task: strategy {document['strategy']}, engine {document['engine']}"
    for what, device in (("images on", document["trunk_provider"]), ("steps on", document["engine_device"])):
        if device:
            line += f", {what} {device}"
    return line
