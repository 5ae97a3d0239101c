"""``python profiles/tools/demo.py --out demo-out``: the whole product on real digits, its own commands shown.

Prepare on the host, learn five tasks on the "device", evaluate after each, predict, and profile against
plain SGD of the whole network.
"""

import argparse
import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

from demo_steps import Steps, find_program
from lightcl_edge.console.program import Command
from lightcl_edge.console.text import Document, format_bytes, table
from lightcl_edge.errors import UsageError
from lightcl_profiler.records.metrics import average_forgetting, backward_transfer, task_accuracies
from one_command import run_command

MODEL, DATA, TASKS, IMAGE_SIZE = "efficientnet_lite0", "digits", 5, 128
PROFILE_IMAGES, PROFILE_EPOCHS = 200, 1
PREDICTED_IMAGES = 4
_MARKER = "made-by-lightcl-demo"


class DemoCommand(Command):
    """Take the embedded network and real digits through the whole product in five tasks of two classes.

    Shows each command and the first lines of its output. Ends with accuracies, forgetting and measured peak memory.
    """

    name = "demo"
    example = "python profiles/tools/demo.py --out demo-out"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--out", type=Path, default=Path("demo-out"), help="folder (default: demo-out)")

    def run(self, args: argparse.Namespace) -> Document:
        out: Path = args.out
        _clean(out)
        steps = Steps(quiet=args.quiet, output=sys.stderr if args.json else sys.stdout)
        _prepare(steps, out)
        classes, evaluations = _learn(steps, out)
        _predict(steps, out)
        report = _profile(steps, out)
        document = _summary(classes, evaluations, report, out / "profile" / "report.html")
        (out / "summary.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
        return document

    def render(self, document: Document) -> str:
        tasks = range(1, len(document["matrix"]) + 1)
        rows = []
        for after, row in zip(tasks, document["matrix"], strict=True):
            known = [f"{accuracy:.1%}" for accuracy in row] + [""] * (len(tasks) - after)
            seen = document["accuracy_all_classes"][after - 1]
            rows.append([f"task {after}", str(document["classes_seen"][after - 1]), f"{seen:.1%}", *known])
        header = ["after", "classes", "all classes seen", *(f"of task {task}" for task in tasks)]
        peaks = [
            [each["method"], format_bytes(each["peak_rss_bytes"]), format_bytes(each["import_rss_bytes"])]
            for each in document["memory"]
        ]
        return "\n".join(
            [
                "",
                table(rows, header),
                "",
                f"forgetting {document['forgetting']:.1%} (mean over tasks of best minus final accuracy), "
                f"backward transfer {document['backward_transfer']:+.1%}",
                "",
                table(peaks, ["method", "measured peak memory", "of it imports"]),
                "",
                f"report: {document['report']}",
                f"see it on a page, and teach it more: {document['page']}",
            ]
        )


def _clean(out: Path) -> None:
    """Start from nothing; only an earlier demo's folder is emptied."""
    if out.is_dir() and any(out.iterdir()):
        if not (out / _MARKER).is_file():
            raise UsageError(f"--out {out} holds files the demo did not make; choose another folder or remove it")
        shutil.rmtree(out)
    out.mkdir(parents=True, exist_ok=True)
    (out / _MARKER).write_text("This folder is emptied when the demo runs again.\n", encoding="utf-8")


def _prepare(steps: Steps, out: Path) -> None:
    steps.title("On the host: cut the network, prepare the trunk, write a bundle")
    options = ["--model", MODEL, "--data", f"{DATA}@1/{TASKS}", "--image-size", str(IMAGE_SIZE), "--with-baselines"]
    options += ["--trunk-dtype", "fp32"]  # three 8-bit ones would be tried and refused
    steps.show(["lightcl-host", "prepare", *options, "--out", str(out / "bundle")], lines=8)


def _learn(steps: Steps, out: Path) -> tuple[list[list[str]], list[dict[str, Any]]]:
    """Train and evaluate task after task; gives the classes of each task and each evaluation."""
    from lightcl_edge.data.specification import open_dataset

    state = str(out / "state")
    classes, evaluations = [], []
    for task in range(1, TASKS + 1):
        steps.title(f"On the device: task {task} of {TASKS}")
        data = f"{DATA}@{task}/{TASKS}"
        classes.append(open_dataset(data).classes)
        steps.show(
            ["lightcl-edge", "train", "--bundle", str(out / "bundle"), "--state", state, "--data", data], lines=2
        )
        seen = f"{DATA}:test@1-{task}/{TASKS}"
        command = ["lightcl-edge", "evaluate", "--state", state, "--data", seen, "--json"]
        evaluation = steps.document(command, out / f"evaluation-{task}.json")
        accuracy, images = evaluation["accuracy"], evaluation["images"]
        steps.say(f"accuracy {accuracy:.1%} of {images} test images, among {len(evaluation['per_class'])} classes")
        evaluations.append(evaluation)
    return classes, evaluations


def _predict(steps: Steps, out: Path) -> None:
    """Write a few test images as files and name them."""
    from PIL import Image

    from lightcl_edge.data.specification import open_dataset

    dataset = open_dataset(f"{DATA}:test")
    folder = out / "images"
    folder.mkdir()
    paths = []
    for index in range(PREDICTED_IMAGES):
        path = folder / f"image-{index}-of-a-{dataset.classes[dataset.labels[index]]}.png"
        Image.fromarray(dataset.image(index)).save(path)
        paths.append(str(path))
    steps.title("On the device: what are these?")
    steps.show(
        ["lightcl-edge", "predict", "--state", str(out / "state"), "--top-k", "2", *paths], lines=PREDICTED_IMAGES
    )


def _profile(steps: Steps, out: Path) -> dict[str, Any]:
    """Measure against plain SGD of the whole network; gives the report."""
    steps.title("Measured: this against plain SGD of the whole network, the same images")
    given = ["--bundle", str(out / "bundle"), "--data", DATA, "--methods", "slda,sgd"]
    limits = ["--max-images", str(PROFILE_IMAGES), "--epochs", str(PROFILE_EPOCHS), "--runs", "1"]
    steps.show(["lightcl-edge", "profile", *given, *limits, "--out", str(out / "profile")], lines=0)
    report: dict[str, Any] = json.loads((out / "profile" / "report.json").read_text(encoding="utf-8"))
    return report


def _summary(
    classes: list[list[str]], evaluations: list[dict[str, Any]], report: dict[str, Any], page: Path
) -> Document:
    matrix = [task_accuracies(each["per_class"], classes[: i + 1]) for i, each in enumerate(evaluations)]
    return {
        "classes_seen": [sum(map(len, classes[: i + 1])) for i in range(len(classes))],
        "accuracy_all_classes": [each["accuracy"] for each in evaluations],
        "matrix": matrix,
        "forgetting": average_forgetting(matrix),
        "backward_transfer": backward_transfer(matrix),
        "memory": [
            {
                "method": each["method"],
                "peak_rss_bytes": each["figures"]["peak_rss_bytes"]["median"],
                "import_rss_bytes": each["figures"]["import_rss_bytes"]["median"],
            }
            for each in report["summary"]
        ],
        "report": str(page),
        "page": f"{_typed('lightcl-edge')} serve --state {page.parent.parent / 'state'}, then open http://127.0.0.1:8765/",
    }


def _typed(program: str) -> str:
    """How to start a program from here: the environment need not be on the path."""
    return os.path.relpath(find_program(program))


if __name__ == "__main__":
    sys.exit(run_command(DemoCommand()))
