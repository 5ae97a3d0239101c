"""What a device has learned, as numbered generations that change all at once or not at all.

``STATE/CURRENT`` names a generation; ``STATE/generations/NNNNNN/`` holds ``head.safetensors``,
``strategy.safetensors``, ``holdout.safetensors``, ``buffer.safetensors`` and ``meta.json`` with the others' hashes;
``STATE/bundle/`` is the device's own copy of the bundle; ``STATE/work/`` belongs to the running task. The layout and
what it guarantees are in ``docs/state.md``.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from lightcl_edge.bundle.bundle import BUFFER, Bundle
from lightcl_edge.errors import StateError
from lightcl_edge.files.durable import copy_durably, fsync_folder, make_folders, remove_tree, rename, replace_durably
from lightcl_edge.files.strict_json import read_limited
from lightcl_edge.state import journal
from lightcl_edge.state.exported_classes import base_generation, drop_forgotten
from lightcl_edge.state.generation import Generation, Meta
from lightcl_edge.state.generation_files import HOLDOUT, STRATEGY, read_generation, read_meta, write_generation
from lightcl_edge.state.lock import StateLock, raise_unwritable
from lightcl_edge.state.pointer import MAX_NUMBER, Pointer, read_pointer, write_pointer
from lightcl_edge.state.trust import read_trust
from lightcl_edge.state.work import _TASK
from lightcl_edge.state.written_bytes import Odometer, Written, read_written

#: How many generations stay for ``rollback``.
KEPT_GENERATIONS = 5
#: What a first task whose start was cut short may leave beside nothing else.
_OWN = frozenset({"LOCK", "CURRENT", "CURRENT.new", "written.json", "written.json.new", "journal.jsonl", "bundle.new"})
_NAME = re.compile(r"^\d{6}$")


class State:
    """A state directory. Reading needs no lock; writing happens inside ``with state.lock():``.

    Args:
        folder: the directory; :meth:`create` makes it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.work = folder / "work"
        self.generations = folder / "generations"
        self._odometer: Odometer | None = None

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
        if not str(self.folder).isascii() and str(self.folder) != os.fsencode(self.folder).decode(errors="replace"):
            raise StateError(f"the path {self.folder} is no UTF-8, expected one: onnxruntime opens no other")
        try:
            if not made and not self.generations.is_dir() and any(p.name not in _OWN for p in self.folder.iterdir()):
                raise StateError(
                    f"{self.folder} holds other things and is no state; expected a state, an empty folder or a new path"
                )
            make_folders(self.generations)
        except OSError as error:
            raise_unwritable(self.folder, error)
        return made

    def remove(self) -> None:
        """Take away a directory that was just made and holds nothing learned."""
        if not self.numbers():
            shutil.rmtree(self.folder, ignore_errors=True)

    @contextmanager
    def lock(self) -> Iterator[None]:
        """The exclusive right to change this state; what a crash left half-made is cleared first.

        Yields:
            Nothing; every byte written inside is counted.

        Raises:
            StateError: at once, when another process has it, or the directory can't be written.
        """
        from lightcl_edge.state.recovery import recover

        with StateLock(self.folder):
            odometer = Odometer(self.folder, self._bytes_in_records())
            with odometer.running():
                odometer.add(len(str(os.getpid())))  # the lock's owner
                recover(self)
                if odometer.lost:
                    self.note("the count of bytes was damaged and starts anew", counted=odometer.written.total_bytes)
                self._odometer = odometer
                try:
                    yield
                finally:
                    if not self.work.is_dir():
                        odometer.no_task()
                    self._odometer = None

    def written(self) -> Written:
        """How many bytes this state has cost its disk."""
        return self._odometer.written if self._odometer else read_written(self.folder, self._bytes_in_records())

    def end_task(self) -> int:
        """The running task is over, learned or not: forget its features and checkpoint.

        Returns:
            The bytes it wrote; 0 when there was none.
        """
        running = self.work.is_dir()
        self.clear_work()
        return self._odometer.end_task() if self._odometer and running else 0

    def _bytes_in_records(self) -> int:
        """The total that states of an earlier version kept in their generations."""
        totals = [0]
        for number in self.numbers():
            with suppress(StateError):
                totals.append(self.meta(number).bytes_written_total)
        return max(totals)

    def bundle(self) -> Bundle:
        """The state's own copy of the bundle.

        Returns:
            The bundle.

        Raises:
            StateError: when there is no state here, or its bundle is not the one that was accepted as signed.
            BundleError: when the copy is damaged.
        """
        if not self.exists():
            raise StateError(
                f"no state at {self.folder}; check the path, or make one with lightcl-edge train --bundle B --state S"
            )
        bundle, trust = self.own_bundle(), read_trust(self.folder)
        if trust is not None and trust.identity != bundle.identity:
            raise StateError(
                f"the state at {self.folder} accepted the signed bundle {trust.identity[:12]}..., found "
                f"{bundle.identity[:12]}...; train with the signed bundle again (--bundle), or restore a copy"
            )
        return bundle

    def own_bundle(self) -> Bundle:
        """As :meth:`bundle`, whether it was accepted or not."""
        return Bundle.open(self.folder / "bundle", may_lack=(BUFFER,))

    def install_bundle(self, bundle: Bundle) -> int:
        """Keep a checked copy of the bundle, so that the state needs nothing outside itself.

        Args:
            bundle: what to copy.

        Returns:
            The number of bytes written.
        """
        aside, place, old = (self.folder / f"bundle{end}" for end in (".new", "", ".old"))
        remove_tree(aside)
        written = sum(copy_durably(bundle.folder / name, aside / name) for name in bundle.all_files())
        for folder in sorted({aside, *(path.parent for path in aside.rglob("*"))}):
            fsync_folder(folder)
        if place.exists():  # of a state that has learned nothing yet
            remove_tree(old)
            rename(place, old)
        rename(aside, place)
        write_pointer(self.folder, Pointer(0, self.newest()))  # its sync makes the new name durable too
        fsync_folder(self.folder.absolute().parent)
        remove_tree(old)
        drop_forgotten(self.folder)
        self.note("bundle installed", identity=bundle.identity, model=bundle.manifest.model.name)
        return written

    def numbers(self) -> list[int]:
        """Numbers of the committed generations on disk, ascending."""
        pointer = read_pointer(self.folder)
        newest = None if pointer is None else pointer.newest
        return [number for number in self.numbers_on_disk() if newest is None or number <= newest]

    def numbers_on_disk(self) -> list[int]:
        """As :meth:`numbers`, with one whose commit a crash cut short."""
        with suppress(OSError):
            return sorted(int(p.name) for p in self.generations.iterdir() if _NAME.match(p.name) and int(p.name) > 0)
        return []

    def place(self, number: int) -> Path:
        """The folder of a generation."""
        return self.generations / f"{number:06d}"

    def current_number(self) -> int:
        """The generation that counts: what ``CURRENT`` names, else the newest whole one.

        Returns:
            Its number; 0 when nothing was learned yet.

        Raises:
            StateError: when ``CURRENT`` is damaged and no generation is whole.
        """
        pointer, numbers = read_pointer(self.folder), self.numbers()
        if pointer is not None and (pointer.current == 0 or pointer.current in numbers):
            return pointer.current
        for number in reversed(numbers):
            if self.is_whole(number):
                return number
        if numbers:
            raise StateError(
                f"{self.folder}: CURRENT is damaged and so is each of the generations {numbers}; restore a copy of the "
                "state, or begin anew with another --state"
            )
        return 0

    def kept_bytes(self) -> int:
        """Size of what the current generation keeps besides the head: statistics, held-out and remembered samples."""
        place, found = self.place(self.current_number()), 0
        for name in (STRATEGY, HOLDOUT, BUFFER):
            with suppress(OSError):  # generation 0 has no files
                found += (place / name).stat().st_size
        return found

    def is_whole(self, number: int) -> bool:
        """Whether a generation's files are all there and have their hashes."""
        try:
            read_generation(self.place(number), number, self.own_bundle())
        except StateError:
            return False
        return True

    def meta(self, number: int) -> Meta:
        """The record of a generation.

        Args:
            number: the generation.

        Returns:
            Its record.

        Raises:
            StateError: when it is missing or damaged.
        """
        return read_meta(self.place(number), number)

    def read(self, number: int | None = None) -> Generation:
        """Read a generation, every file checked against its hash.

        Args:
            number: which; None for the current one, whatever another process commits or forgets meanwhile. 0 is the
                bundle as exported.

        Returns:
            The generation.

        Raises:
            StateError: when a file is missing or damaged.
        """
        while number is None:
            chosen = self.current_number()
            try:
                return self.read(chosen)
            except StateError:
                if self.current_number() == chosen:
                    raise
        if number == 0:
            return base_generation(self.folder, self.bundle())
        return read_generation(self.place(number), number, self.own_bundle())

    def commit(self, generation: Generation) -> Meta:
        """Write a generation and make it the current one: after a crash it is there whole, or not at all.

        Args:
            generation: with its final number; hashes and the byte count are filled here.

        Returns:
            The record as written.

        Raises:
            OSError: when the disk fails; the old generation then stays, unless the disk refuses that too.
        """
        number = generation.meta.generation
        before = Pointer(self.current_number(), self.newest())
        aside = self.place(number).with_suffix(".new")
        meta = replace(generation.meta, bytes_written_total=self.written().total_bytes)
        try:
            final = write_generation(aside, replace(generation, meta=meta))
            rename(aside, self.place(number))
            fsync_folder(self.generations)
            write_pointer(self.folder, Pointer(number, number))
            if read_pointer(self.folder) != Pointer(number, number) or number not in self.numbers():
                raise StateError(f"{self.folder}: CURRENT does not read back as generation {number}; check the disk")
        except BaseException:
            self._take_back(before, aside)
            raise
        self.note("committed", generation=number, classes=meta.classes)
        self._prune(final)
        return final

    def _take_back(self, before: Pointer, aside: Path) -> None:
        """After a failed commit: as it was, as far as the disk still allows."""
        with suppress(OSError):
            if read_pointer(self.folder) not in (before, None):
                write_pointer(self.folder, before)
        with suppress(OSError):
            remove_tree(aside)

    def _prune(self, current: Meta) -> None:
        """Drop generations beyond those kept for rollback: the ones that the current was learned from stay first."""
        kept, parent = [current.generation], current.parent
        with suppress(StateError):
            while parent and len(kept) < KEPT_GENERATIONS:
                kept.append(parent)
                parent = self.meta(parent).parent
        others = [number for number in reversed(self.numbers()) if number not in kept]
        with suppress(OSError):  # what can't be dropped now is dropped after the next task
            self.drop(others[max(0, KEPT_GENERATIONS - len(kept)) :])

    def back_from(self, number: int) -> int:
        """Where to go back to from a generation.

        Args:
            number: the generation, which may be damaged.

        Returns:
            The one it was learned from; where that is gone or damaged, the newest older one that is whole; else 0.
        """
        parent = number
        with suppress(StateError):
            parent = self.meta(number).parent
            if parent == 0 or self.is_whole(parent):
                return parent
        return max(
            (older for older in self.numbers() if older < min(number, parent + 1) and self.is_whole(older)), default=0
        )

    def drop(self, numbers: list[int]) -> None:
        """Remove generations; one that a crash leaves half removed is not a generation any more."""
        for number in numbers:
            rename(self.place(number), self.place(number).with_suffix(".old"))
        if numbers:
            fsync_folder(self.generations)
        for number in numbers:
            remove_tree(self.place(number).with_suffix(".old"))

    def newest(self) -> int:
        """The highest number of a committed generation: what lies on the disk counts, not what ``CURRENT`` may claim.

        The newest generation is never dropped without a newer one, so that no number is given twice.
        """
        return max([0, *self.numbers()])

    def next_number(self) -> int:
        """A number that no committed generation ever had.

        Returns:
            The number.

        Raises:
            StateError: when all numbers are used up.
        """
        number = self.newest() + 1
        if number > MAX_NUMBER:
            raise StateError(f"{self.folder} is at generation {number - 1}, the last there can be; begin a new state")
        return number

    def make_current(self, number: int) -> None:
        """Point ``CURRENT`` at a generation that is whole.

        Args:
            number: the generation; 0 is the bundle as exported.

        Raises:
            StateError: when it is not there or damaged.
        """
        if number != 0 and number not in self.numbers():
            found = ", ".join(["0 (the bundle as exported)", *map(str, self.numbers())])
            raise StateError(f"no generation {number} in {self.folder}; found {found}")
        self.read(number)
        write_pointer(self.folder, Pointer(number, self.newest()))
        self.note("rolled back", generation=number)

    def note(self, event: str, **details: Any) -> None:
        """Add a line to the journal."""
        journal.note(self.folder, event, **details)

    def begin_task(self, parent: int) -> None:
        """Note what the running task started from: once that is no longer the current generation, the task is over.

        Args:
            parent: the current generation.
        """
        if self._task_parent() != parent:
            make_folders(self.work)
            replace_durably(self.work / _TASK, f"{parent}\n".encode())

    def _task_parent(self) -> int | None:
        with suppress(OSError, ValueError):
            return int(read_limited(self.work / _TASK, 16))
        return None

    def drop_finished_task(self) -> bool:
        """Forget a task whose generation was committed just before its process died.

        Returns:
            Whether there was one.
        """
        stale = self.work.is_dir() and self._task_parent() not in (None, self.current_number())
        if stale:
            self.end_task()
        return stale

    def has_interrupted_task(self) -> bool:
        """Whether a task was begun and neither finished nor is running now."""
        if not self.work.is_dir() or self._task_parent() not in (None, self.current_number()):
            return False
        try:
            handle = os.open(self.folder / "LOCK", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
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
        """Forget the running task; a disk that refuses keeps some files that no later task will take up."""
        with suppress(OSError):
            remove_tree(self.work)
