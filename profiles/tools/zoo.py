"""``python profiles/tools/zoo.py``: which of today's networks go all the way from a name to a prediction."""

from __future__ import annotations

import argparse
import csv
import io
import json
import os
import resource
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from lightcl_edge.console.program import Command
from lightcl_edge.console.text import Document, table
from one_command import run_command

_HEADER = ("family", "member", "side", "cuts", "trainable", "cut", "difference", "ort", "torch", "seconds", "result")


class ZooCommand(Command):
    """Take one small member of every family through cuts, export, a task on each engine, and a prediction.

    The families are those of timm and torchvision, with random weights, and a few odd ONNX files. Each member has a
    process of its own and a limit of processor time. What is known is kept in --out after each member: the same
    command goes on where it stopped. --again repeats those that failed.
    """

    name = "zoo"
    example = "python profiles/tools/zoo.py --out /tmp/zoo --only vision_transformer,swin"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="for results and the page")
        parser.add_argument(
            "--only", default="", metavar="TEXTS", help="families whose names have one of these, as vit,swin"
        )
        parser.add_argument("--again", action="store_true", help="repeat the members that failed")
        parser.add_argument(
            "--limit", type=int, default=180, metavar="S", help="processor time of a member (default 180 s)"
        )

    def run(self, args: argparse.Namespace) -> Document:
        from zoo_member import try_member  # noqa: F401 - imported once, before the processes part
        from zoo_members import families

        args.out.mkdir(parents=True, exist_ok=True)
        kept = args.out / "zoo.jsonl"
        rows = read_rows(kept)
        every = list(families())
        for family, pick in every:
            known = rows.get(family)
            if not any(text in family for text in args.only.split(",")) or (
                known and not (args.again and known["stage"] != "done")
            ):
                continue
            args.progress.note(family)
            rows[family] = {"family": family} | _in_a_process(pick, args.limit)
            with kept.open("a") as lines:
                lines.write(json.dumps(rows[family]) + "\n")
            write_reports(args.out, list(rows.values()), len(every))
        return {"zoo": list(rows.values())}

    def render(self, document: Document) -> str:
        rows = document["zoo"]
        return f"{summary(rows)}\n\n{table([cells(row) for row in rows], list(_HEADER))}"


def read_rows(path: Path) -> dict[str, Document]:
    """Family -> the newest row of it in a file of earlier results."""
    lines = path.read_text().splitlines() if path.exists() else []
    return {row["family"]: row for row in map(json.loads, lines)}


def _in_a_process(pick: Callable[[Path], str], limit_s: int) -> Document:
    """What a child of this process finds, which has all libraries imported already; cut short at the limit."""
    from zoo_member import try_member

    with tempfile.TemporaryDirectory(prefix="zoo-") as name:
        folder, found = Path(name), Path(name, "row.json")
        child = os.fork()
        if child == 0:
            os.setpgrp()  # so that its own children end with it
            resource.setrlimit(resource.RLIMIT_CPU, (limit_s, limit_s))
            with (folder / "log").open("w") as log:
                os.dup2(log.fileno(), 1)
                os.dup2(log.fileno(), 2)
            try_member(pick, folder, lambda row: _put(found, row))
            os._exit(0)
        try:
            _, status, used = os.wait4(child, 0)
        except BaseException:  # interrupted: the child does not stay behind
            os.killpg(child, signal.SIGKILL)
            os.waitpid(child, 0)
            raise
        ended = os.waitstatus_to_exitcode(status)
        row: Document = json.loads(found.read_text()) if found.exists() else {"member": None, "stage": "pick"}
        shutil.rmtree(folder / "bundle", ignore_errors=True)
    if ended == -signal.SIGKILL and used.ru_utime + used.ru_stime > 0.9 * limit_s:  # the kernel counts otherwise
        row["reason"] = f"not done after {limit_s} s of processor time"
    elif ended != 0 and row["stage"] != "done":
        row["reason"] = f"the process ended with status {ended}"
    return row | {"seconds": round(used.ru_utime + used.ru_stime, 1)}


def _put(path: Path, row: Document) -> None:
    aside = path.with_suffix(".new")
    aside.write_text(json.dumps(row))
    aside.replace(path)


def cells(row: Document) -> list[str]:
    """The texts of a row of the table."""
    done = row["stage"] == "done"
    difference = f"{row['difference']:.1g}" if "difference" in row else ""
    engines = ["yes" if row.get(engine) else "no" for engine in ("ort", "torch")]
    result = "done" if done else f"{row['stage']}: {' '.join(str(row.get('reason', '')).split())[:300]}"
    first = [str(row.get(key) or "") for key in ("family", "member", "side", "cuts", "trainable", "cut")]
    return [*first, difference, *engines, f"{row['seconds']:.0f}", result]


def summary(rows: list[Document]) -> str:
    """How many families of each source go all the way."""
    parts = []
    for source in ("timm", "torchvision", "file"):
        those = [row for row in rows if row["family"].split()[0] == source]
        done = sum(row["stage"] == "done" for row in those)
        if those:
            parts.append(f"{source} {done} of {len(those)} ({done / len(those):.1%})")
    return f"All the way: {', '.join(parts)}."


def write_reports(folder: Path, rows: list[Document], families: int) -> None:
    """The table as ``zoo.csv``, and a page that names what fails."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_HEADER)
    writer.writerows(cells(row) for row in rows)
    (folder / "zoo.csv").write_text(text.getvalue())
    failed = [cells(row) for row in rows if row["stage"] != "done"]
    lines = [
        "# The zoo",
        "",
        summary(rows),
        f"Tried: {len(rows)} of {families} families of networks and odd files.",
        "",
    ]
    lines += ["One small member of each family, with random weights, goes from its cuts through export, a task on each"]
    lines += ["engine and predictions: `python profiles/tools/zoo.py --out DIR`. [zoo.csv](zoo.csv) has all rows.", ""]
    if failed:
        lines += ["| family | member | where it stops, and why |", "|---|---|---|"]
    lines += [f"| {row[0]} | {row[1]} | {row[-1].replace('|', '/')} |" for row in failed]
    (folder / "README.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    sys.exit(run_command(ZooCommand()))
