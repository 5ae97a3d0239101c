"""What was found, as JSON and as a page of Markdown made of it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

Document = dict[str, Any]
COMMAND = "make test-arm64"


def public(results: Mapping[str, Any]) -> Document:
    """A machine's results without what is long or says nothing elsewhere."""
    kept: Document = json.loads(json.dumps(results))
    for step in kept.values():
        for name in ("predictions", "file", "seconds"):
            step.pop(name, None)
    return kept


def passes(document: Mapping[str, Any]) -> bool:
    """Whether all machines were there, did and found what they must."""
    if len(document["machines"]) < document["total"]:
        return False
    return all(drift["passes"] for machine in document["machines"] for drift in machine.get("drift", []))


def write(document: Mapping[str, Any], folder: Path) -> None:
    """Write ``report.json`` and ``report.md``."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "report.json").write_text(json.dumps(document) + "\n")
    (folder / "report.md").write_text(render(document))


def render(document: Mapping[str, Any]) -> str:
    """The page."""
    about = document["about"]
    lines = [
        "# The arm64 image under emulation",
        "",
        f"`{document['command']}`: {_verdict(document)}.",
        "",
        f"lightcl-edge {about['lightcl-edge']} (hash of its files {about['wheel']}) in "
        f"Debian {about['debian']}, Python {about['python']}, run by qemu-user "
        f"{about['qemu']} as an ordinary user in a read-only container with one volume. The emulator executes each "
        "processor's instructions and dies of those it lacks; the processor's description is that of the board. Speed "
        f"and memory of the boards are not measured: {about['memory']}.",
        "",
        f"Network: {about['network']}. Task: {about['task']}.",
        "",
        *_table(_machine_rows(document["machines"]), ["processor", "boards", "image", *_STEPS]),
    ]
    lines += _instructions(document["machines"])
    compared = [machine for machine in document["machines"] if "drift" in machine]
    for machine in compared:
        lines += [
            "",
            f"## {machine['processor']}, engine {machine['engine']}",
            "",
            f"Against the same bundle on x86-64 ({_packages(document['reference'][machine['engine']])}); here "
            f"{_packages(machine['steps'])}.",
            "",
            *_table(_drift_rows(machine["drift"]), ["compared", "found", "allowed", "counts", ""]),
        ]
    return "\n".join(lines) + "\n"


def _instructions(machines: Iterable[Mapping[str, Any]]) -> list[str]:
    """The table of counted instructions, a column a processor."""
    counts = {m["processor"]: m["steps"]["instructions"] for m in machines if "instructions" in m["steps"]}
    if not counts:
        return []
    rows = ([what, *(f"{count[what] / 1e6:,.0f}" for count in counts.values())] for what in next(iter(counts.values())))
    return [
        "",
        "## Millions of instructions",
        "",
        "Counted by the emulator, one thread, to compare versions without a board. They are no times: "
        "a processor does several at once, or waits for memory. Training counts up to 4 % more on a busy machine.",
        "",
        *_table(rows, ["command", *counts]),
    ]


def _verdict(document: Mapping[str, Any]) -> str:
    done, total = len(document["machines"]), document["total"]
    if not passes({**document, "total": done}):
        return "**something failed**"
    return "everything passed" if done == total else f"passed on {done} of {total} machines, the others did not run yet"


_STEPS = ("onnxruntime", "torch", "verify", "train", "kill and resume", "predict", "health check")


def _machine_rows(machines: Iterable[Mapping[str, Any]]) -> Iterable[list[str]]:
    for machine in machines:
        steps = machine["steps"]
        engines = steps["doctor"]["engines"]
        row = [machine["processor"], machine["boards"], machine["image"]]
        for name in ("ort", "torch"):
            missing = not engines[name]["works"] and "No module" in engines[name]["reason"]
            row.append("not in this image" if missing else engines[name]["reason"])
        if "drift" not in machine:
            yield [*row, *["not run"] * (len(_STEPS) - 2)]
            continue
        checked = [steps[f"verify {dtype}"]["ok"] for dtype in ("int8", "fp32")]
        trained, resumed = steps["train fp32"], steps["kill and resume"]
        row += ["good" if all(checked) else "bad", f"engine {trained['engine']}, {trained['epochs']} epochs"]
        where = f"signal {resumed['killed_with']} in epoch {resumed['checkpoint']['epoch'] + 1}"
        same = resumed["head_sha256"] == trained["head_sha256"]
        row += [f"{where}, {'equal' if same else 'other'} weights", f"{steps['predict int8']['accuracy']:.0%} right"]
        yield [*row, "healthy" if "health check" in steps else "not run"]


def _drift_rows(drifts: Iterable[Mapping[str, Any]]) -> Iterable[list[str]]:
    for drift in drifts:
        found = "no number" if drift["found"] is None else f"{drift['found']:.2g}"
        allowed = "reported only" if drift["allowed"] is None else f"{drift['allowed']:.2g}"
        yield [drift["what"], found, allowed, drift["unit"], "" if drift["passes"] else "**too far**"]


def _packages(steps: Mapping[str, Any]) -> str:
    packages = steps["doctor"]["packages"]
    return ", ".join(f"{name} {packages[name]}" for name in ("onnxruntime", "numpy", "torch") if name in packages)


def _table(rows: Iterable[list[str]], header: list[str]) -> list[str]:
    lines = [header, ["---"] * len(header), *rows]
    return ["| " + " | ".join(cell.replace("|", "/") for cell in line) + " |" for line in lines]
