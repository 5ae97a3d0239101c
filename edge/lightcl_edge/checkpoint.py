"""Where a running task stands, so that it goes on after a crash and ends in the same weights."""

from __future__ import annotations

import json
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from lightcl_edge.bundle import sha256_of
from lightcl_edge.durable import fsync_folder, replace_durably
from lightcl_edge.engines.contract import Parameters
from lightcl_edge.errors import StateError
from lightcl_edge.tensor_file import TensorFile
from lightcl_edge.tensors import write_tensors

#: A checkpoint writes the whole head; more often than this wears out SD cards.
SECONDS_BETWEEN_CHECKPOINTS = 30.0


@dataclass(frozen=True)
class Position:
    """A place in a task's training.

    Attributes:
        epoch: from 0.
        step: the next step in the epoch, from 0.
        loss_sum: of the epoch's steps so far.
    """

    epoch: int
    step: int
    loss_sum: float


class Checkpoints:
    """The one checkpoint of a running task, replaced as a whole.

    Args:
        folder: the state's work folder.
        key: what identifies the task and its settings; another key's checkpoint is ignored.
    """

    def __init__(self, folder: Path, key: str) -> None:
        self._folder, self._key = folder, key
        self._last = time.monotonic()
        self.bytes_written = 0

    def load(self) -> tuple[Position, Parameters] | None:
        """The task's position and parameters, or None when there is none or it is torn."""
        try:
            note = json.loads((self._folder / "checkpoint.json").read_text())
            if note["key"] != self._key:
                return None
            path = self._folder / note["file"]
            if sha256_of(path) != note["sha256"]:
                return None
            return Position(**note["position"]), TensorFile(path, StateError)
        except (OSError, ValueError, KeyError, TypeError, StateError):
            return None

    def due(self) -> bool:
        """Whether enough time has passed since the last one."""
        return time.monotonic() - self._last >= SECONDS_BETWEEN_CHECKPOINTS

    def save(self, position: Position, parameters: Parameters) -> None:
        """Write the checkpoint: tensors under a new name first, then the note that points at them."""
        name = f"checkpoint-{position.epoch}-{position.step}.safetensors"
        written, digest = write_tensors(self._folder / name, parameters)
        fsync_folder(self._folder)
        note = {"key": self._key, "file": name, "sha256": digest, "position": asdict(position)}
        written += replace_durably(self._folder / "checkpoint.json", json.dumps(note).encode())
        for old in self._folder.glob("checkpoint-*.safetensors"):
            if old.name != name:
                os.unlink(old)
        self.bytes_written += written
        self._last = time.monotonic()
