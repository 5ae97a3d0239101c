"""What every machine does: doctor, verify, features, train, train again but killed and resumed, predict."""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from arm64.inputs import TRUNKS
from arm64.machines import EmulatedMachine, Machine, MachineFailedError

Document = dict[str, Any]
#: One thread, so that sums are added in the same order wherever the machine has one core or four.
THREADS = ("--threads", "1")
#: Pictures of a second prediction that is counted.
_MORE = 8
#: In two epochs.
_STEPS = 6
TRAINING = (
    "--strategy",
    "replay",
    "--data",
    "/data/train",
    "--state",
    "/state",
    "--seed",
    "0",
    "--epochs",
    "2",
    *THREADS,
)


class Record:
    """Results of a machine's steps, kept so that an interrupted test goes on behind the last one.

    Args:
        folder: the machine's.
        key: what identifies image, inputs and steps; results of another are dropped with all else in the folder.
        say: tells the person who waits.
    """

    def __init__(self, folder: Path, key: str, say: Callable[[str], None]) -> None:
        self._file, self._say = folder / "results.json", say
        kept = json.loads(self._file.read_text()) if self._file.is_file() else {}
        if kept.get("key") != key:
            shutil.rmtree(folder, ignore_errors=True)
            kept = {"key": key, "steps": {}}
        folder.mkdir(parents=True, exist_ok=True)
        self._kept: Document = kept

    def step(self, name: str, do: Callable[[], Document]) -> Document:
        """The result of a step: the kept one, else what ``do`` returns."""
        steps: dict[str, Document] = self._kept["steps"]
        if name not in steps:
            self._say(name)
            started = time.monotonic()
            steps[name] = {**do(), "seconds": round(time.monotonic() - started, 1)}
            self._file.write_text(json.dumps(self._kept, indent=1))
        return steps[name]


def look(machine: Machine, record: Record) -> Document:
    """Which engines start."""

    def doctor() -> Document:
        document = machine.edge("doctor", state=machine.state("looked", new=True))
        engines = {name: {"works": e["works"], "reason": e["reason"]} for name, e in document["engines"].items()}
        return {
            "engines": engines,
            "packages": document["machine"]["packages"],
            "python": document["machine"]["python"],
        }

    return record.step("doctor", doctor)


def exercise(machine: Machine, record: Record, engine: str) -> Document:
    """All steps. A native machine is the reference and is not killed.

    Args:
        machine: where.
        record: keeps their results.
        engine: that trains.

    Returns:
        Step -> result; what is too large for it is in the machine's folder.
    """
    result = {"doctor": look(machine, record)}
    for dtype in TRUNKS:
        result[f"verify {dtype}"] = record.step(f"verify {dtype}", partial(_verify, machine, dtype))
    result["features"] = record.step("features", lambda: _features(machine))
    for dtype in TRUNKS:
        result[f"train {dtype}"] = record.step(f"train {dtype}", partial(_train, machine, dtype, engine))
        result[f"predict {dtype}"] = record.step(f"predict {dtype}", partial(_predict, machine, dtype))
    if isinstance(machine, EmulatedMachine):
        result["kill and resume"] = record.step("kill and resume", lambda: _kill_and_resume(machine, "fp32", engine))
        result["health check"] = record.step("health check", lambda: _health(machine))
        if engine == "ort":
            result["instructions"] = record.step("instructions", lambda: _instructions(machine))
    return result


def _options(dtype: str, engine: str) -> list[str]:
    return ["train", "--bundle", f"/data/bundle-{dtype}", *TRAINING, "--engine", engine]


def _verify(machine: Machine, dtype: str) -> Document:
    state = machine.state("verified", new=True)
    found = machine.edge("verify", f"/data/bundle-{dtype}", *THREADS, state=state)
    return {name: found[name] for name in ("ok", "feature_error", "logit_error")}


def _features(machine: Machine) -> Document:
    state = machine.state("features", new=True)
    bundles = [f"/data/bundle-{dtype}" for dtype in TRUNKS]
    machine.run(["python", "/data/probe.py", "/state/features.npz", "/data/test", *bundles], state)
    return {"file": "features/features.npz"}


def _train(machine: Machine, dtype: str, engine: str) -> Document:
    state = machine.state(f"learned-{dtype}", new=True)
    found = machine.edge(*_options(dtype, engine), state=state)
    names = ("generation", "engine", "strategy", "classes", "images", "epochs", "loss", "holdout_accuracy", "resumed")
    return {**{name: found[name] for name in names}, "head_sha256": head_hash(state)}


def _kill_and_resume(machine: Machine, dtype: str, engine: str) -> Document:
    """SIGKILL as soon as there is a checkpoint; then the same command again."""
    state = machine.state("killed", new=True)
    running = machine.program(["python", "/data/often.py", *_options(dtype, engine), "--json", "--quiet"], state)
    note = state / "work" / "checkpoint.json"
    while not note.exists():
        if running.poll() is not None:
            raise MachineFailedError(
                "the training ended before its first checkpoint, so that there was nothing to kill; make it longer"
            )
        time.sleep(0.1)
    running.kill()
    code = running.wait()
    position = json.loads(note.read_text())["position"]
    found = machine.edge(*_options(dtype, engine), state=state)
    return {
        "killed_with": -code,
        "checkpoint": {"epoch": position["epoch"], "step": position["step"]},
        "resumed": found["resumed"],
        "generation": found["generation"],
        "head_sha256": head_hash(state),
    }


def _predict(machine: Machine, dtype: str) -> Document:
    pictures = sorted((machine.inputs / "test").glob("*/*.jpg"))
    names = [f"/data/{path.relative_to(machine.inputs)}" for path in pictures]
    found = machine.edge("predict", "--state", "/state", *THREADS, *names, state=machine.work / f"learned-{dtype}")
    predictions = found["predictions"]
    right = [p["top"][0]["class"] == path.parent.name for p, path in zip(predictions, pictures, strict=True)]
    tops = [{"top": p["top"]} for p in predictions]
    return {"images": len(tops), "accuracy": sum(right) / len(right), "predictions": tops}


def _health(machine: Machine) -> Document:
    machine.run(["/opt/lightcl/healthcheck.sh"], machine.state("healthy", new=True))
    machine.run(["/opt/lightcl/healthcheck.sh"], machine.work / "learned-int8")
    return {"before_learning": 0, "after_learning": 0}


def _instructions(machine: EmulatedMachine) -> Document:
    """What counts: what one more picture or step takes is the difference of two commands."""

    def count(*arguments: str, state: Path) -> int:
        return machine.instructions(*arguments, "--quiet", state=state)

    pictures = [f"/data/{path.relative_to(machine.inputs)}" for path in sorted(machine.inputs.glob("test/*/*.jpg"))]
    found = {"--help": machine.instructions("--help", state=machine.state("counted", new=True))}
    for dtype in TRUNKS:
        learned = machine.work / f"learned-{dtype}"
        predict = ("predict", "--state", "/state", *THREADS)
        one, many = (count(*predict, *pictures[:number], state=learned) for number in (1, 1 + _MORE))
        found |= {f"predict of one picture, {dtype}": one, f"each further picture, {dtype}": (many - one) // _MORE}
    state = machine.state("counted", new=True)
    learn = ("train", "--state", "/state", "--seed", "0", *THREADS)
    found["train of the first task"] = count(
        *learn, "--bundle", "/data/bundle-fp32", "--data", "/data/train", state=state
    )
    found["train of a second task of one image"] = count(*learn, "--data", "/data/one", state=state)
    options = _options("fp32", "ort")
    epochs = options.index("--epochs") + 1
    few, more = (
        count(*options[:epochs], str(number), *options[epochs + 1 :], state=machine.state("counted", new=True))
        for number in (2, 4)
    )
    found["each step of training"] = (more - few) // _STEPS
    return found


def head_hash(state: Path) -> str:
    """Identifies the weights of the newest generation."""
    newest = max((state / "generations").glob("[0-9]*"))
    return hashlib.sha256((newest / "head.safetensors").read_bytes()).hexdigest()
