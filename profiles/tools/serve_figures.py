"""``python profiles/tools/serve_figures.py``: what the page on the device costs, and how fast it answers."""

import argparse
import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from statistics import median

from lightcl_edge.console.program import Command
from lightcl_edge.console.text import Document, table
from lightcl_edge.errors import ExitCode
from one_command import run_command
from serve_rates import measure_rates
from served_board import ServedBoard

_MIB = 2**20
#: What is measured, and the most that it may be.
LIMITS = {
    "server_mib": ("server with page and camera, MiB (PSS)", 110.0),
    "learning_mib": ("server and learner together, MiB (PSS)", 200.0),
    "frame_to_page_ms": ("from frame to page, ms (median)", 150.0),
    "learn_to_answer_s": ("from 'learn' on 20 pictures to the new answer, s", 5.0),
    "predictions_lost": ("share lost of a bare loop over the frames", 0.15),
}
#: ffmpeg's pictures for the classes that are known, and what the camera sees.
_KNOWN = {"fractal": "mandelbrot=size=640x480:rate=30", "bars": "smptebars=size=640x480:rate=30,noise=alls=40:allf=t"}
_SEEN = "testsrc2=size=640x480:rate=30"
_PICTURES = 20


class ServeFiguresCommand(Command):
    """Measure ``lightcl-edge serve`` with a bundle, as its owner uses it.

    A video stands for the camera and a client for the page. Two classes are learned from pictures. Then 20 frames of
    the camera are taught as a third, and the time counts from the request to learn to the first sure new answer. Last,
    predictions a second are compared with a bare loop that decodes and predicts the same frames, while frames of the
    camera never end. The exit code is 5 when a figure is over its limit. Needs ffmpeg.
    """

    name = "serve_figures"
    example = "python profiles/tools/serve_figures.py --bundle bundle"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--bundle", type=Path, required=True, metavar="B", help="a bundle without classes")
        parser.add_argument("--runs", type=int, default=3, help="how often the third class is learned (default: 3)")
        parser.add_argument("--seconds", type=float, default=10.0, help="of each side of the ratio (default: 10)")
        parser.add_argument("--threads", type=int, help="processors for predictions (default: all but one)")
        parser.add_argument("--train", default="--strategy slda", help="options of train (default: --strategy slda)")

    def run(self, args: argparse.Namespace) -> Document:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            words = ["--bundle", str(args.bundle), "--source", str(_video(folder)), "--train", args.train]
            words += ["--threads", str(args.threads)] if args.threads else []
            pictures = {each: _pictures(folder / each, source) for each, source in _KNOWN.items()}
            with ServedBoard(folder / "state", words) as board:
                for each, files in pictures.items():
                    board.teach(each, files)
                board.learn()
                rest = board.at_rest()
                learned = [board.learn_what_is_seen("shapes", _PICTURES) for _ in range(args.runs)]
            frames = _pictures(folder / "frames", _SEEN)
            rates = measure_rates(folder / "state", frames, args.seconds, args.threads)
        found = {
            "server_mib": rest.server_bytes / _MIB,
            "learning_mib": max(each.most_bytes for each in learned) / _MIB,
            "frame_to_page_ms": 1000 * rest.frame_to_event_seconds,
            "learn_to_answer_s": median(each.seconds for each in learned),
            "predictions_lost": 1 - rates.served / rates.predicted,
        }
        return {
            "figures": {name: round(value, 3) for name, value in found.items()},
            "within": all(found[name] <= most for name, (_, most) in LIMITS.items()),
            "camera_mib": round(rest.camera_bytes / _MIB, 1),
            "learn_to_answer_each_s": [round(each.seconds, 2) for each in learned],
            "in_train_each_s": [round(each.train_seconds, 2) for each in learned],
            "predictions_per_second": {name: round(rate, 1) for name, rate in asdict(rates).items()},
        }

    def render(self, document: Document) -> str:
        rows = [[text, f"{document['figures'][name]:.2f}", f"{most:g}"] for name, (text, most) in LIMITS.items()]
        rates = document["predictions_per_second"]
        return "\n".join(
            [
                table(rows, ["figure", "found", "at most"]),
                f"predictions a second: {rates['served']} served; in bare loops {rates['predicted']} with decoding, "
                f"{rates['network']} without, {rates['trunk']} of the trunk alone",
                f"each time from 'learn' to the answer: {document['learn_to_answer_each_s']} s, "
                f"inside train: {document['in_train_each_s']} s",
                f"the camera's program beside it: {document['camera_mib']} MiB",
            ]
        )

    def exit_code(self, document: Document) -> ExitCode:
        return ExitCode.DONE if document["within"] else ExitCode.DOES_NOT_FIT


def _video(folder: Path) -> Path:
    path = folder / "seen.mp4"
    _ffmpeg("-i", _SEEN, "-t", "10", "-c:v", "mpeg4", "-q:v", "3", str(path))
    return path


def _pictures(folder: Path, source: str) -> list[Path]:
    folder.mkdir()
    _ffmpeg("-i", source, "-frames:v", str(_PICTURES), "-q:v", "3", str(folder / "%02d.jpg"))
    return sorted(folder.iterdir())


def _ffmpeg(*words: str) -> None:
    subprocess.run(["ffmpeg", "-loglevel", "error", "-y", "-f", "lavfi", *words], check=True)


if __name__ == "__main__":
    sys.exit(run_command(ServeFiguresCommand()))
