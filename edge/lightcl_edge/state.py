"""What a device has learned, as numbered generations that change all at once or not at all.

``STATE/CURRENT`` names a generation; ``STATE/generations/NNNNNN/`` holds ``head.safetensors``,
``strategy.safetensors``, ``holdout.safetensors``, ``buffer.safetensors`` and ``meta.json`` with the others' hashes;
``STATE/bundle/`` is the device's own copy of the bundle; ``STATE/work/`` belongs to the running task.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from lightcl_edge.bundle import BUFFER, HEAD_PARAMETERS, Bundle, sha256_of
from lightcl_edge.durable import fsync_folder, replace_durably, write_durably
from lightcl_edge.errors import BundleError, StateError
from lightcl_edge.generation import STATE_FORMAT, Generation, Meta, Tensors
from lightcl_edge.state_lock import StateLock, raise_unwritable
from lightcl_edge.tensor_file import TensorFile
from lightcl_edge.tensors import read_tensors, write_tensors

#: How many generations stay for ``rollback``.
KEPT_GENERATIONS = 5
_HEAD, _STRATEGY, _HOLDOUT, _BUFFER, _META = (
    "head.safetensors",
    "strategy.safetensors",
    "holdout.safetensors",
    BUFFER,
    "meta.json",
)
_NAME = re.compile(r"^\d{6}$")


class State:
    """A state directory. Reading needs no lock; writing happens inside ``with state.lock():``.

    Args:
        folder: the directory; :meth:`create` makes it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.work = folder / "work"
        self._generations = folder / "generations"

    def exists(self) -> bool:
        """Whether there is a state with a bundle of its own here."""
        return (self.folder / "bundle").is_dir()

    def create(self) -> bool:
        """Make the directory.

        Returns:
            Whether it was not there before.

        Raises:
            StateError: when it can't be made or written.
        """
        made = not self.folder.exists()
        try:
            if not made and not self._generations.is_dir() and any(self.folder.iterdir()):
                raise StateError(
                    f"{self.folder} holds other things and is no state; expected a state, an empty folder or a new path"
                )
            self._generations.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise_unwritable(self.folder, error)
        return made

    def remove(self) -> None:
        """Take away a directory that was just made and holds nothing learned."""
        if not self.numbers():
            shutil.rmtree(self.folder, ignore_errors=True)

    def lock(self) -> StateLock:
        """The exclusive right to change this state.

        Returns:
            The lock, taken when it is entered.

        Raises:
            StateError: at once, when another process has it, or the directory can't be written.
        """
        return StateLock(self.folder)

    def bundle(self) -> Bundle:
        """The state's own copy of the bundle.

        Returns:
            The bundle.

        Raises:
            StateError: when there is no state here.
            BundleError: when the copy is damaged.
        """
        if not self.exists():
            raise StateError(
                f"no state at {self.folder}; check the path, or make one with lightcl-edge train --bundle B --state S"
            )
        return Bundle.open(self.folder / "bundle")

    def install_bundle(self, bundle: Bundle) -> int:
        """Keep a checked copy of the bundle, so that the state needs nothing outside itself.

        Args:
            bundle: what to copy.

        Returns:
            The number of bytes written.
        """
        aside = self.folder / "bundle.new"
        shutil.rmtree(aside, ignore_errors=True)
        written = write_durably(aside / "manifest.json", (bundle.folder / "manifest.json").read_bytes())
        for entry in bundle.manifest.files:
            written += write_durably(aside / entry.path, bundle.path(entry.path).read_bytes())
        for folder in {path.parent for path in aside.rglob("*")}:
            fsync_folder(folder)
        shutil.rmtree(self.folder / "bundle", ignore_errors=True)  # of a state that has learned nothing yet
        os.rename(aside, self.folder / "bundle")
        fsync_folder(self.folder)
        self.note("bundle installed", identity=bundle.identity, model=bundle.manifest.model.name)
        return written

    def check_bundle(self, bundle: Bundle) -> None:
        """Refuse to mix bundles.

        Args:
            bundle: what somebody wants to train with.

        Raises:
            StateError: when the state was made with another one.
        """
        own = self.bundle()
        if own.identity != bundle.identity and self.numbers():
            raise StateError(
                f"the state at {self.folder} belongs to bundle {_label(own)}, found {_label(bundle)}; "
                "use another --state for another bundle"
            )

    def numbers(self) -> list[int]:
        """Generation numbers that are on disk, ascending."""
        with suppress(OSError):
            return sorted(int(p.name) for p in self._generations.iterdir() if _NAME.match(p.name))
        return []

    def current_number(self) -> int:
        """The generation that counts: what ``CURRENT`` names, else the newest whole one, else 0."""
        with suppress(OSError, ValueError):
            number = int((self.folder / "CURRENT").read_text())
            if number == 0 or number in self.numbers():
                return number
        for number in reversed(self.numbers()):
            with suppress(StateError):
                self.read(number)
                return number
        return 0

    def meta(self, number: int) -> Meta:
        """The record of a generation.

        Args:
            number: the generation.

        Returns:
            Its record.

        Raises:
            StateError: when it is missing or damaged.
        """
        path = self._generations / f"{number:06d}" / _META
        try:
            value = json.loads(path.read_text())
            known = {entry.name for entry in fields(Meta)}
            if value["format"] != STATE_FORMAT:
                raise StateError(
                    f"{path} has format {value['format']!r}, expected {STATE_FORMAT}; install a newer lightcl-edge"
                )
            return Meta(**{key: item for key, item in value.items() if key in known})
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise StateError(f"{path} is damaged ({error}); roll back to another generation") from error

    def read(self, number: int | None = None) -> Generation:
        """Read a generation, every file checked against its hash.

        Args:
            number: which; None for the current one. 0 is the bundle as exported.

        Returns:
            The generation.

        Raises:
            StateError: when a file is missing or damaged.
        """
        chosen = self.current_number() if number is None else number
        if chosen == 0:
            bundle = self.bundle()
            meta = Meta(0, 0.0, bundle.identity, list(bundle.manifest.classes))
            seed = read_tensors(bundle.path(BUFFER), BundleError) if bundle.has(BUFFER) else {}
            return Generation(meta, TensorFile(bundle.path(HEAD_PARAMETERS), BundleError), {}, {}, seed)
        meta, folder = self.meta(chosen), self._generations / f"{chosen:06d}"
        tensors: dict[str, Tensors] = {}
        for name in (_HEAD, _STRATEGY, _HOLDOUT, _BUFFER):
            if name == _BUFFER and name not in meta.files:  # of a version that had no buffer
                tensors[name] = {}
                continue
            try:
                found = sha256_of(folder / name)
            except OSError as error:
                raise StateError(f"{folder / name} can't be read ({error}); roll back to another generation") from error
            if found != meta.files.get(name):
                raise StateError(f"{folder / name} is damaged (its hash differs); roll back to another generation")
            if name != _HEAD:
                tensors[name] = read_tensors(folder / name, StateError)
        head = TensorFile(folder / _HEAD, StateError)
        return Generation(meta, head, tensors[_STRATEGY], tensors[_HOLDOUT], tensors[_BUFFER])

    def commit(self, generation: Generation) -> Meta:
        """Write a generation and make it the current one: after a crash it is there whole, or not at all.

        Args:
            generation: with its final number; ``files`` and the byte count are filled here.

        Returns:
            The record as written.
        """
        meta = generation.meta
        name = f"{meta.generation:06d}"
        aside = self._generations / f"{name}.new"
        shutil.rmtree(aside, ignore_errors=True)
        content: dict[str, Mapping[str, NDArray[Any]]] = {
            _HEAD: generation.parameters,
            _STRATEGY: generation.strategy_state,
            _HOLDOUT: generation.holdout,
            _BUFFER: generation.buffer,
        }
        results = {file: write_tensors(aside / file, tensors) for file, tensors in content.items()}
        hashes = {file: digest for file, (_, digest) in results.items()}
        total = meta.bytes_written_total + sum(count for count, _ in results.values())
        final = Meta(**{**asdict(meta), "files": hashes, "bytes_written_total": total})
        write_durably(aside / _META, json.dumps(asdict(final), indent=1, sort_keys=True, allow_nan=False).encode())
        fsync_folder(aside)
        os.rename(aside, self._generations / name)
        fsync_folder(self._generations)
        replace_durably(self.folder / "CURRENT", f"{meta.generation}\n".encode())
        self.note("committed", generation=meta.generation, classes=meta.classes)
        self._prune(meta.generation)
        return final

    def _prune(self, current: int) -> None:
        """Drop the oldest generations beyond those kept for rollback."""
        for number in [n for n in self.numbers() if n < current][: -(KEPT_GENERATIONS - 1)]:
            shutil.rmtree(self._generations / f"{number:06d}", ignore_errors=True)

    def next_number(self) -> int:
        """A number that no generation on disk has."""
        return max([self.current_number(), *self.numbers()]) + 1

    def make_current(self, number: int) -> None:
        """Point ``CURRENT`` at a generation that is whole.

        Args:
            number: the generation; 0 is the bundle as exported.

        Raises:
            StateError: when it is not there or damaged.
        """
        if number != 0 and number not in self.numbers():
            raise StateError(f"no generation {number} in {self.folder}; found {self.numbers()}")
        self.read(number)
        replace_durably(self.folder / "CURRENT", f"{number}\n".encode())
        self.note("rolled back", generation=number)

    def note(self, event: str, **details: Any) -> None:
        """Add a line to the journal; what happened, for a person, never read back by the program."""
        line = json.dumps({"time": round(time.time(), 3), "event": event, **details})
        with (self.folder / "journal.jsonl").open("a") as journal:
            journal.write(line + "\n")

    def has_interrupted_task(self) -> bool:
        """Whether a task was begun and neither finished nor is running now."""
        if not self.work.is_dir():
            return False
        try:
            handle = os.open(self.folder / "LOCK", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return True
        try:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return False  # it runs now
        finally:
            os.close(handle)
        return True

    def clear_work(self) -> None:
        """Forget the running task."""
        shutil.rmtree(self.work, ignore_errors=True)


def _label(bundle: Bundle) -> str:
    return f"{bundle.manifest.model.name} cut at {bundle.manifest.model.cut} ({bundle.identity[:12]})"


def bundle_for(state: State, path: Path | None) -> Bundle:
    """The bundle to train with: the state's own once it has one.

    Args:
        state: the state.
        path: what the user named, or None.

    Returns:
        The state's copy if there is one (checked to be the same as ``path``), else the one at ``path``.

    Raises:
        BundleError: when there is neither.
        StateError: when the two differ.
    """
    if path is None and not state.exists():
        raise BundleError(f"there is no state at {state.folder}; check the path, or name a --bundle to make a new one")
    if state.exists():
        if path is None:
            return state.bundle()
        named = Bundle.open(path)
        state.check_bundle(named)
        own = state.bundle()
        return own if own.identity == named.identity else named
    return Bundle.open(path or Path())
