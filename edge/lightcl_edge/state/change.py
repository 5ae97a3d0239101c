"""The one way to change a state: ``with changing(state) as change: ...``."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lightcl_edge.bundle.bundle import Bundle
from lightcl_edge.errors import StateError
from lightcl_edge.files.durable import copy_durably, fsync_folder, make_folders, remove_tree, rename
from lightcl_edge.state import journal
from lightcl_edge.state.exported_classes import drop_forgotten
from lightcl_edge.state.forgetting import finish_forgetting
from lightcl_edge.state.generation import KEPT_GENERATIONS, Generation, Meta
from lightcl_edge.state.generation_files import drop_generations, write_generation
from lightcl_edge.state.lock import locked, raise_unwritable
from lightcl_edge.state.pointer import Pointer, read_pointer, write_pointer
from lightcl_edge.state.recovery import clear_half_made, drop_bundles
from lightcl_edge.state.state import State, bundle_name
from lightcl_edge.state.updates import read_updates
from lightcl_edge.state.work import clear_work, is_task_over
from lightcl_edge.state.written_bytes import ByteCounter, Written

#: What a first task that was cut short at its start, or ``serve``, may leave in a folder that holds nothing else.
_OWN_FILES = frozenset(
    {"LOCK", "CURRENT", "CURRENT.new", "written.json", "written.json.new", "journal.jsonl", "bundle.new", "serve"}
)


@contextmanager
def changing(state: State, *, create: bool = False) -> Iterator[Change]:
    """Lock a state, repair what a crash left half-made, and count every byte written inside.

    Args:
        state: the state.
        create: make the directory when it is missing. It is removed again when no bundle was installed in it.

    Raises:
        StateError: at once when there is no state, another process changes it, or it can't be written.
    """
    made = create and _create(state)
    if not create:
        state.bundle()
    try:
        with locked(state.folder):
            counter = ByteCounter(state.folder)
            with counter.running():
                counter.count.add(len(str(os.getpid())))  # what the lock wrote
                change = Change(state, counter)
                _repair(change, counter)
                try:
                    yield change
                finally:
                    if not state.work.is_dir():
                        counter.no_task()
    except BaseException:
        if made and not state.exists():
            shutil.rmtree(state.folder, ignore_errors=True)
        raise


def _create(state: State) -> bool:
    """Make the directory; gives whether it was not there before."""
    folder = state.folder
    made = not folder.exists()
    if not str(folder).isascii() and str(folder) != os.fsencode(folder).decode(errors="replace"):
        raise StateError(f"the path {folder} is no UTF-8, expected one: onnxruntime opens no other")
    try:
        if not made and not state.generations.is_dir() and any(p.name not in _OWN_FILES for p in folder.iterdir()):
            raise StateError(
                f"{folder} holds other things and is no state; expected a state, an empty folder or a new path"
            )
        make_folders(state.generations)
    except OSError as error:
        raise_unwritable(folder, error)
    return made


def _repair(change: Change, counter: ByteCounter) -> None:
    cleared = clear_half_made(change.state)
    finish_forgetting(change.state)
    if is_task_over(change.state):
        change.end_task()
        cleared.append("work")
    if cleared:
        change.note("recovered", cleared=sorted(cleared))
    if counter.lost:
        change.note("the count of bytes was damaged and starts anew", counted=counter.written.total_bytes)


class Change:
    """What can be done to a state while its lock is held. Made by :func:`changing` only."""

    def __init__(self, state: State, counter: ByteCounter) -> None:
        self.state, self._counter = state, counter

    @property
    def written(self) -> Written:
        """How many bytes this state has cost its disk."""
        return self._counter.written

    def count(self, more_bytes: int) -> None:
        """Count bytes that were written beside the state, for it."""
        self._counter.count.add(more_bytes)

    def note(self, event: str, **details: Any) -> None:
        """Add a line to the journal."""
        journal.note(self.state.folder, event, **details)

    def end_task(self) -> int:
        """The running task is over, learned or not: remove its features and checkpoint. Gives the bytes it wrote."""
        running = self.state.work.is_dir()
        clear_work(self.state)
        return self._counter.end_task() if running else 0

    def install_bundle(self, bundle: Bundle) -> None:
        """Keep a checked copy of the bundle, so that the state needs nothing outside itself."""
        folder = self.state.folder
        aside, place, old = (folder / f"bundle{end}" for end in (".new", "", ".old"))
        remove_tree(aside)
        copy_durably(bundle.all_files(), bundle.folder, aside)
        if place.exists():  # of a state that has learned nothing yet
            remove_tree(old)
            rename(place, old)
        rename(aside, place)
        write_pointer(folder, Pointer(0, self.state.newest()))  # its sync makes the new name durable too
        fsync_folder(folder.absolute().parent)
        remove_tree(old)
        drop_forgotten(folder)
        self.note("bundle installed", identity=bundle.identity, model=bundle.manifest.model.name)

    def add_bundle(self, prepared: Path, identity: str) -> None:
        """Take over a bundle whose files are checked and on the disk, for a generation that follows."""
        folder = self.state.folder
        place = folder / bundle_name(identity)
        remove_tree(place)  # of an update that a crash cut short
        rename(prepared, place)
        fsync_folder(prepared.parent)
        fsync_folder(folder)

    def commit(self, generation: Generation) -> Meta:
        """Write a generation and make it the current one: after a crash it is there whole, or not at all.

        Its number must be final; hashes and the byte count are filled here. Gives the record as written.

        Raises:
            OSError: when the disk fails; the old generation then stays, unless the disk refuses that too.
        """
        state, number = self.state, generation.meta.generation
        before = Pointer(state.current_number(), state.newest())
        aside = state.place(number).with_suffix(".new")
        meta = replace(generation.meta, bytes_written_total=self.written.total_bytes)
        try:
            final = write_generation(aside, replace(generation, meta=meta))
            rename(aside, state.place(number))
            fsync_folder(state.generations)
            write_pointer(state.folder, Pointer(number, number))
            if read_pointer(state.folder) != Pointer(number, number) or number not in state.numbers():
                raise StateError(f"{state.folder}: CURRENT does not read back as generation {number}; check the disk")
        except BaseException:
            self._take_back(before, aside)
            raise
        self.note("committed", generation=number, classes=meta.classes)
        self._drop_old(final)
        return final

    def _take_back(self, before: Pointer, aside: Path) -> None:
        """After a failed commit: as it was, as far as the disk still allows."""
        with suppress(OSError):
            if read_pointer(self.state.folder) not in (before, None):
                write_pointer(self.state.folder, before)
        with suppress(OSError):
            remove_tree(aside)

    def _drop_old(self, current: Meta) -> None:
        """Drop what is beyond the generations kept for rollback; those the current was learned from stay first."""
        trial = read_updates(self.state.folder).trial
        kept, parent = [current.generation, *([trial.back] if trial else [])], current.parent
        with suppress(StateError):
            while parent and len(kept) < KEPT_GENERATIONS:
                kept.append(parent)
                parent = self.state.meta(parent).parent
        others = [number for number in reversed(self.state.numbers()) if number not in kept]
        old = others[max(0, KEPT_GENERATIONS - len(kept)) :]
        with suppress(OSError):  # what can't be dropped now is dropped after the next task
            drop_generations([self.state.place(number) for number in old])
            drop_bundles(self.state)

    def make_current(self, number: int) -> Generation:
        """Point ``CURRENT`` at a generation, or raise a StateError when it is not whole; 0 is as exported."""
        numbers = self.state.numbers()
        if number != 0 and number not in numbers:
            found = ", ".join(["0 (the bundle as exported)", *map(str, numbers)])
            raise StateError(f"no generation {number} in {self.state.folder}; found {found}")
        generation = self.state.read(number)
        write_pointer(self.state.folder, Pointer(number, max([0, *numbers])))
        self.note("rolled back", generation=number)
        return generation


@dataclass(frozen=True)
class RolledBack:
    """The generation that is in use now, the one before, and the classes that are known now."""

    generation: int
    previous: int
    classes: list[str]


def roll_back(state: State, target: int | None = None) -> RolledBack:
    """Use another generation from now on; None is the one that the current one was learned from.

    Raises StateError when there is no such generation, it is damaged, or another process changes the state.
    """
    with changing(state) as change:
        current = state.current_number()
        if target is None and current == 0:
            raise StateError(f"{state.folder} has no generation to go back from; generation 0 is the bundle itself")
        chosen = state.back_from(current) if target is None else target
        classes = change.make_current(chosen).meta.classes
        change.end_task()
    return RolledBack(chosen, current, classes)
