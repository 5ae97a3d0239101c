"""``lightcl-host cuts``."""

import argparse
from typing import ClassVar

from lightcl_edge.console.program import Command
from lightcl_edge.console.text import Document, format_bytes, table
from lightcl_host.commands.arguments import add_model_arguments, source_options

_FIGURES = ("feature_bytes", "trunk_parameters", "head_parameters", "trainable", "reason")


class CutsCommand(Command):
    """List where a network can be cut, with shapes and sizes.

    A cut is a tensor that alone carries all information from the layers before it to those after it. The layers before
    become the trunk, which only infers. The layers after become the head, which the device trains.
    """

    name: ClassVar[str] = "cuts"
    example: ClassVar[str] = "lightcl-host cuts --model efficientnet_lite0"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        add_model_arguments(parser)

    def run(self, args: argparse.Namespace) -> Document:
        from lightcl_edge.errors import UsageError
        from lightcl_host.cutting.cuts import find_cuts
        from lightcl_host.cutting.rule_of_thumb import RULE, choose_automatically
        from lightcl_host.sources.failure_reason import blaming
        from lightcl_host.sources.source import open_source

        args.progress.note(f"exporting {args.model} to ONNX")
        source = open_source(source_options(args))
        for note in source.notes:
            args.progress.note(note)
        with blaming(source.name, "cut", "try another exporter or opset"):
            cuts = find_cuts(source.graph)
        try:
            automatic, why = choose_automatically(cuts).name, RULE
        except UsageError as error:
            automatic, why = None, str(error)
        rows = [
            {
                "name": cut.name,
                "aliases": list(cut.aliases),
                "shape": list(cut.shape),
                **{name: getattr(cut, name) for name in _FIGURES},
            }
            for cut in cuts
        ]
        return {
            "model": source.name,
            "notes": list(source.notes),
            "cuts": rows,
            "automatic": automatic,
            "automatic_rule": why,
        }

    def render(self, document: Document) -> str:
        rows = [
            [
                ("* " if row["name"] == document["automatic"] else "  ") + row["name"],
                "x".join(str(side) for side in row["shape"]),
                format_bytes(row["feature_bytes"]),
                f"{row['trunk_parameters']}",
                f"{row['head_parameters']}",
                "yes" if row["trainable"] else f"no: {row['reason']}",
            ]
            for row in document["cuts"]
        ]
        header = ["  cut", "feature", "stored", "trunk weights", "head weights", "trainable"]
        found = f"--cut auto takes {document['automatic']} (*): {document['automatic_rule']}."
        return f"{found if document['automatic'] else document['automatic_rule']}\n\n{table(rows, header)}"
