"""Measure trainings on this machine: every one is `lightcl-edge train` in a fresh process.

The images are seeded noise, the learning rate is tiny and patterns weigh nothing, though ``lightcl`` holds them
(``replay`` then holds none): the memory of a step does not depend on what is learned. Two tasks are learned, because
patterns are held from the second task on; each is a process of its own.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lightcl_edge.errors import LightclError
from lightcl_edge.planning.plan import Plan

#: Classes a task and images a class: more than the largest batch once the held-out share is gone.
_CLASSES, _TASKS, _SIDE = 2, 2, 48
_LEARNING_RATE = 1e-9


class MeasurementError(LightclError):
    """A measured training did not end well."""


@dataclass(frozen=True)
class Measured:
    """The peaks of the two trainings.

    Attributes:
        plan: of the second one, made before it loaded anything.
        phase_bytes: phase -> peak resident set; ``install`` of the first task, all others of the second.
    """

    plan: Plan
    phase_bytes: dict[str, int]


def write_tasks(folder: Path, largest_batch: int) -> list[Path]:
    """Images for two tasks.

    Args:
        folder: where.
        largest_batch: what a step must find enough samples for.

    Returns:
        An ``.npz`` file a task.
    """
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
    """Learn both tasks, each in a fresh process.

    Args:
        bundle: what to train.
        state: a folder that does not exist yet.
        tasks: of :func:`write_tasks`.
        engine: ``ort`` or ``torch``.
        batch_size: samples a step.
        buffer_size: samples that carry patterns.
        strategy: that learns.

    Returns:
        What was planned, and the peaks.

    Raises:
        MeasurementError: with the last words of a training that failed.
    """
    options = ["--strategy", strategy, "--engine", engine, "--batch-size", str(batch_size)]
    options += ["--pattern-samples", str(buffer_size), "--epochs", "1", "--beta", "0"]
    options += ["--learning-rate", str(_LEARNING_RATE), "--max-forgetting", "1", "--json", "--quiet"]
    phases: dict[str, int] = {}
    planned: dict[str, int] = {}
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
