"""How far a running task has come. After a crash it goes on from there and ends in the same weights."""

from __future__ import annotations

import json
import re
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from lightcl_edge.errors import StateError
from lightcl_edge.files.durable import fsync_folder, remove, replace_durably
from lightcl_edge.files.plain import sha256_of
from lightcl_edge.files.strict_json import read_json
from lightcl_edge.files.tensors import Parameters, TensorFile, write_tensors

#: A checkpoint writes the whole head; more often than this wears out SD cards.
SECONDS_BETWEEN_CHECKPOINTS = 30.0
#: In a long task they grow rarer: a power cut costs at most this share of the time trained.
SHARE_AT_RISK = 0.1
#: A task writes no more than this, however often it is resumed; an interrupt by the user writes one more. With the
#: spacing above they last for 18 hours.
MOST_CHECKPOINTS = 64
#: Names the newest checkpoint; in the state's work folder.
NOTE = "checkpoint.json"
#: Share of the newest step in the running mean of losses.
RECENT_SHARE = 0.1
_FILE = re.compile(r"checkpoint-\d+-\d+-\d+\.safetensors")


@dataclass(frozen=True)
class Position:
    """A place in a task's training."""

    epoch: int  # from 0
    step: int  # the next one in the epoch, from 0
    loss_sum: float  # of the epoch's steps so far
    restarts: int = 0  # how often training began anew because the loss rose
    recent_loss: float = 0.0  # running mean of the newest steps

    def after(self, loss: float) -> Position:
        """The place after one more step with this loss."""
        recent = self.recent_loss + RECENT_SHARE * (loss - self.recent_loss)
        return replace(self, step=self.step + 1, loss_sum=self.loss_sum + loss, recent_loss=recent)


class Checkpoints:
    """The one checkpoint of a running task, in the state's work folder. One with another ``key`` is ignored."""

    def __init__(self, folder: Path, key: str) -> None:
        self._folder, self._key = folder, key
        self._last = time.monotonic()
        self._trained_seconds, self._written = 0.0, 0

    def load(self, like: Parameters | None = None) -> tuple[Position, Parameters] | None:
        """The task's position and parameters; None when there is no checkpoint or it is torn.

        With the head's present parameters in ``like``, tensors of other names or shapes, or that are not finite, are
        refused too.
        """
        try:
            note = read_json(self._folder / NOTE)
            if note["key"] != self._key or not _FILE.fullmatch(note["file"]):
                return None
            path = self._folder / note["file"]
            if sha256_of(path) != note["sha256"]:
                return None
            place = note["position"]
            position = Position(
                int(place["epoch"]),
                int(place["step"]),
                float(place["loss_sum"]),
                int(place["restarts"]),
                float(place["recent_loss"]),
            )
            seconds, written = float(note["trained_seconds"]), int(note["written"])
            tensors = TensorFile(path, StateError)
            fits = like is None or (
                tensors.kinds() == {name: ("F32", array.shape) for name, array in like.items()} and tensors.is_finite()
            )
        except (OSError, ValueError, KeyError, TypeError, OverflowError, StateError):
            return None
        if min(position.epoch, position.step, position.restarts, written, seconds) < 0 or not fits:
            return None
        self._trained_seconds, self._written = seconds, written
        return position, tensors

    def due(self) -> bool:
        """Whether enough time has passed since the last one, and the task may still write one."""
        since = time.monotonic() - self._last
        wanted = max(SECONDS_BETWEEN_CHECKPOINTS, SHARE_AT_RISK * self._trained_seconds)
        return since >= wanted and self._written < MOST_CHECKPOINTS

    def save(self, position: Position, parameters: Parameters) -> None:
        """Write the checkpoint: tensors under a new name first, then the note that points at them."""
        now = time.monotonic()
        self._trained_seconds += now - self._last
        self._last, self._written = now, self._written + 1
        name = f"checkpoint-{position.restarts}-{position.epoch}-{position.step}.safetensors"
        try:
            digest = write_tensors(self._folder / name, parameters)
            fsync_folder(self._folder)
            note = {
                "key": self._key,
                "file": name,
                "sha256": digest,
                "position": asdict(position),
                "trained_seconds": round(self._trained_seconds, 3),
                "written": self._written,
            }
            replace_durably(self._folder / NOTE, json.dumps(note).encode())
        except OSError:
            with suppress(OSError):  # the disk gets its space back; the one before this still counts
                self._keep_only(self._pointed_at())
            raise
        self._keep_only(name)

    def _pointed_at(self) -> str:
        with suppress(OSError, ValueError, KeyError, TypeError):
            return str(read_json(self._folder / NOTE)["file"])
        return ""

    def _keep_only(self, name: str) -> None:
        for old in self._folder.glob("checkpoint-*.safetensors"):
            if old.name != name:
                remove(old)
