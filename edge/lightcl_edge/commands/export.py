"""``lightcl-edge export``."""

import argparse
from pathlib import Path

from lightcl_edge.commands.arguments import add_state
from lightcl_edge.console.program import Command
from lightcl_edge.console.text import Document


class ExportCommand(Command):
    """Write what was learned as one ONNX file that other programs open: onnxruntime, a browser, OpenCV.

    Its input is called image: float32 RGB pixels from 0 to 255, shape (n, 3, height, width), n free. Normalisation is
    inside. Its outputs are probabilities, and unknown_score where the state can tell what it has never seen. Class
    names and the input's description are in the file's metadata.

    The file is opened by plain onnxruntime and compared on the bundle's golden images. A wrong file is not left.
    """

    name = "export"
    example = "lightcl-edge export --state state --out learned.onnx"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        add_state(parser)
        parser.add_argument("--out", type=Path, required=True, metavar="FILE.onnx", help="file to write or replace")
        first = parser.add_mutually_exclusive_group()
        first.add_argument("--softmax", dest="logits", action="store_false", help="give probabilities (the default)")
        first.add_argument("--logits", action="store_true", help="give logits: their softmax is the probabilities")
        parser.set_defaults(logits=False)
        parser.add_argument(
            "--no-unknown",
            action="store_true",
            help="leave out the score of what was never seen; the file is smaller and faster",
        )

    def run(self, args: argparse.Namespace) -> Document:
        from dataclasses import asdict

        from lightcl_edge.inference.one_file.network import Choice
        from lightcl_edge.inference.one_file.writing import write_one_file
        from lightcl_edge.state.state import State

        return asdict(write_one_file(State(args.state), args.out, Choice(args.logits, not args.no_unknown)))

    def render(self, document: Document) -> str:
        size = document["bytes"] / 2**20
        lines = [
            f"{document['model']} ({size:.1f} MiB) knows {len(document['classes'])} classes, of generation "
            f"{document['generation']}",
            f"on {document['images']} golden images its probabilities differ from this device's by at most "
            f"{document['largest_difference']:.1e}",
        ]
        for name, value in document["needs"].items():
            lines.append(f"this processor needs the session option {name}={value} for its 8-bit trunk")
        return "\n".join(lines)
