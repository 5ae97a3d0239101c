"""Measures trainings on this machine: each is ``lightcl-edge train`` in a fresh process.

The memory of a step does not depend on what is learned. So the images are seeded noise, the learning rate is tiny, and
patterns have no weight: ``lightcl`` still holds them, ``replay`` then holds none. Two tasks are learned, because
patterns are held from the second task on.
"""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lightcl_edge.errors import LightclError
from lightcl_edge.planning.plan import Plan

#: With two classes a task there are more images than the largest batch needs, without the held-out ones.
_CLASSES, _TASKS, _SIDE = 2, 2, 48
_LEARNING_RATE = 1e-9


class MeasurementError(LightclError):
    """A measured training did not end well."""


@dataclass(frozen=True)
class Measured:
    """What the two trainings planned and needed.

    Attributes:
        plan: of the second one, made before it loaded anything.
        phase_bytes: phase -> peak resident set: ``install`` of the first task, all others of the second.
    """

    plan: Plan
    phase_bytes: dict[str, int]


def write_tasks(folder: Path, largest_batch: int) -> list[Path]:
    """Write an ``.npz`` file for each of two tasks, with images enough for a batch."""
    rng, count = np.random.default_rng(0), largest_batch
    files = []
    for task in range(_TASKS):
        images = rng.integers(0, 256, (_CLASSES * count, _SIDE, _SIDE, 3), np.uint8)
        labels = np.repeat(np.arange(_CLASSES) + task * _CLASSES, count)
        files.append(folder / f"task{task}.npz")
        np.savez(files[-1], x=images, y=labels)
    return files


def measure(
    bundle: Path, state: Path, tasks: list[Path], engine: str, batch_size: int, buffer_size: int, strategy: str
) -> Measured:
    """Learn both tasks of :func:`write_tasks`, each in a fresh process, from a state that does not exist yet.

    Returns what was planned, and the peaks. Raises a MeasurementError with the last words of a training that failed.
    """
    options = ["--strategy", strategy, "--engine", engine, "--batch-size", str(batch_size)]
    options += ["--pattern-samples", str(buffer_size), "--epochs", "1", "--beta", "0"]
    options += ["--learning-rate", str(_LEARNING_RATE), "--max-forgetting", "1", "--json", "--quiet"]
    phases: dict[str, int] = {}
    planned: dict[str, Any] = {}
    for task in tasks:
        command = [sys.executable, "-m", "lightcl_edge", "train", "--bundle", str(bundle), "--state", str(state)]
        process = subprocess.run([*command, "--data", str(task), *options], capture_output=True, text=True, check=False)
        if process.returncode:
            said = (process.stderr.strip().splitlines() or ["no message"])[-1][:300]
            raise MeasurementError(f"a training to measure ended with exit code {process.returncode}: {said}")
        document = json.loads(process.stdout)
        planned = {name: size for name, size in document["plan"].items() if name != "peak_bytes"}
        phases |= {phase["name"]: phase["peak_rss_bytes"] for phase in document["phases"]}
    return Measured(Plan(**planned), phases)
