"""Learns a spool folder as it fills. Each batch is trained in its own process, which then gives all memory back."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lightcl_edge.console.progress import Progress
from lightcl_edge.console.text import Document, count
from lightcl_edge.data.spool import Spool
from lightcl_edge.errors import BusyStateError, ClassifierFullError, ExitCode, LightclError, StateChangedError
from lightcl_edge.state.lock import refuse_unwritable

#: The batch itself is at fault and would be again: a person must look at it.
_REFUSED_CODES = (ExitCode.BAD_DATA, ExitCode.REJECTED)
#: Somebody else changes the state: the batch is tried again later.
_WAITING_KINDS = (BusyStateError.__name__, StateChangedError.__name__)
_LARGEST_BATCH = 2000
#: Pixels a side to which a JPEG is reduced when it is only checked.
_CHECKED_SIDE = 64
#: The most memory that the watcher takes to check one image.
_WATCHER_BYTES = 160 * 2**20
#: A batch is set aside after so many trainings that a signal or an unknown exit code ended.
MOST_TRIES = 3


@dataclass(frozen=True)
class WatchOptions:
    state: Path
    train_arguments: Sequence[str] = field(default_factory=list)  # besides state and data
    minimum_images: int = 32  # make a batch
    longest_wait_seconds: float = 300.0  # then fewer images make one too
    interval_seconds: float = 5.0  # between two looks at the folder
    once: bool = False  # learn what is there, then end
    delete_learned: bool = False  # keep no copy of learned images


class ChildError(LightclError):
    """A training process ended with an error that is not the batch's fault. Its exit code is passed on."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.exit_code = ExitCode(code)


class Watcher:
    """Looks at the spool, takes a batch of images, learns it and files it away."""

    def __init__(self, spool: Spool, options: WatchOptions, progress: Progress) -> None:
        self._spool, self._options, self._progress = spool, options, progress
        self._told: str | None = None
        self.totals: dict[str, int] = dict.fromkeys(("batches", "images", "known_images", "set_aside_images"), 0)

    def run(self) -> Document:
        """Watch until Ctrl-C or SIGTERM, or with ``once`` until nothing is left to learn; gives what was learned.

        Raises:
            KeyboardInterrupt: with ``once``, when images are left.
            LightclError: of a training that failed for another reason than its images, which are tried again later.
        """
        try:
            self._watch()
        except KeyboardInterrupt:
            if self._options.once:
                raise
        return {**self.totals, **self._state_now(), "unfinished_images": len(self._spool.batch())}

    def _state_now(self) -> Document:
        """The generation in use and its classes; 0 and none before anything was learned."""
        from lightcl_edge.state.state import State

        state = State(self._options.state)
        if not state.exists():
            return {"generation": 0, "classes": [], "spool": str(self._spool.folder)}
        meta = state.read().meta
        return {"generation": meta.generation, "classes": meta.classes, "spool": str(self._spool.folder)}

    def _watch(self) -> None:
        self._tell_what_is_there()
        while True:
            if self._spool.has_batch():
                self._learn_batch()
                continue
            images = self._due()
            self._tell_what_is_left_out()
            if images:
                refuse_unwritable(self._options.state)
                self._spool.take(images)
                continue
            if self._options.once and not self._spool.waits():
                return
            time.sleep(
                min(0.2, self._options.interval_seconds) if self._options.once else self._options.interval_seconds
            )

    def _tell_what_is_there(self) -> None:
        options, waiting = self._options, self._spool.waits()
        when = "now" if options.once else f"at {options.minimum_images}, or after {options.longest_wait_seconds:.0f} s"
        self._progress.note(f"watching {self._spool.folder}: {count(waiting, 'image')} there, learned {when}")

    def _tell_what_is_left_out(self) -> None:
        """Once for each change: it may be there at the start or come later."""
        note = self._spool.left_out.note()
        if note is not None and note != self._told:
            self._progress.note(f"{note}; expected images, each in a sub-folder named after its class")
        self._told = note

    def _due(self) -> list[Path]:
        """Images to take now: enough for a batch, or fewer when one has waited long enough."""
        ready = self._spool.ready()
        enough = len(ready) >= self._options.minimum_images or max(ready.values(), default=0.0) >= self._patience()
        return list(ready)[:_LARGEST_BATCH] if enough else []

    def _patience(self) -> float:
        return 0.0 if self._options.once else self._options.longest_wait_seconds

    def _learn_batch(self) -> None:
        """One batch to its end. It was taken now, or by a process that was killed before it learned it."""
        self._spool.tidy()
        generation, taught = self._already_learned()
        if taught:
            self._filed_again(taught, len(self._spool.batch()))
            return
        self._set_aside_what_can_not_be_learned()
        if not self._spool.has_batch():
            return
        images = len(self._spool.batch())
        code, document, last_words = self._train(generation)
        if code == ExitCode.DONE:
            for note in document.get("notes", ()):
                self._progress.note(str(note))
            self._filed(document, images)
            return
        error = document.get("error", {})
        kind, message = error.get("kind"), str(error.get("message", f"training ended with {code}"))
        if kind in _WAITING_KINDS:
            self._progress.note(f"waiting: {message}")
            time.sleep(self._options.interval_seconds)
        elif code in _REFUSED_CODES or kind == ClassifierFullError.__name__:
            self._progress.note(f"{count(images, 'image')} set aside: {message}")
            self._aside(self._spool.batch(), "refused", message.partition("\n")[0])
        elif code in set(ExitCode):
            raise ChildError(message, code)
        else:
            what = f"was killed by signal {-code}" if code < 0 else f"broke with code {code}"
            self._broke(f"the training {what}" + (f" ({last_words})" if last_words else ""))

    def _broke(self, what: str) -> None:
        tries, images = self._spool.count_try(), count(len(self._spool.batch()), "image")
        if tries < MOST_TRIES:
            self._progress.note(f"{what}; {images} to be tried again ({tries} of {MOST_TRIES})")
            time.sleep(self._options.interval_seconds)
            return
        self._progress.note(f"{images} set aside after {tries} tries: {what}")
        self._aside(self._spool.batch(), "failed", f"{what}, {tries} times")

    def _already_learned(self) -> tuple[int, int]:
        from lightcl_edge.learning.taught_batches import generation_taught
        from lightcl_edge.state.state import State

        return generation_taught(State(self._options.state), self._spool.learning)

    def _set_aside_what_can_not_be_learned(self) -> None:
        """Set aside images that can't be read, and images of classes that can't be learned."""
        from lightcl_edge.data.class_names import class_name_fault
        from lightcl_edge.data.decoding import UNREADABLE, open_image, refuse_what_memory_can_not_hold
        from lightcl_edge.errors import DataError

        faults: tuple[type[Exception], ...] = (DataError, *UNREADABLE)
        unreadable, reasons = [], []
        for path in self._spool.batch():
            try:
                with open_image(path) as image:
                    image.draft(None, (_CHECKED_SIDE, _CHECKED_SIDE))  # a JPEG need not be decoded pixel by pixel
                    refuse_what_memory_can_not_hold(image, str(path), 0, _WATCHER_BYTES)
                    image.load()
            except faults as error:
                unreadable.append(path)
                reasons.append(str(error))
        if unreadable:
            others = ", and others" if len(unreadable) > 1 else ""
            self._progress.note(f"{count(len(unreadable), 'image')} set aside: {reasons[0]}{others}")
            self._aside(unreadable, "unreadable", f"{reasons[0]}{others}")
        nameless = [path for path in self._spool.batch() if class_name_fault(path.parent.name)]
        if nameless:
            self._progress.note(f"{count(len(nameless), 'image')} in folders whose names can't be class names")
            self._aside(nameless, "bad-name")
        homeless = self._without_a_row()
        if homeless:
            self._progress.note(f"{count(len(homeless), 'image')} of classes that the classifier has no room for")
            self._aside(homeless, "no-room")

    def _without_a_row(self) -> list[Path]:
        from lightcl_edge.data.class_names import canonical
        from lightcl_edge.state.state import State

        state = State(self._options.state)
        if not state.exists():
            return []
        bundle = state.bundle()
        known, capacity = state.read(bundle=bundle).meta.classes, bundle.manifest.head.capacity
        class_of = {path: canonical(path.parent.name) for path in self._spool.batch()}
        homeless = sorted(set(class_of.values()) - set(known))[max(0, capacity - len(known)) :]
        return [path for path, name in class_of.items() if name in homeless]

    def _aside(self, images: list[Path], reason: str, why: str | None = None) -> None:
        self._spool.set_aside(images, reason, why)
        self.totals["set_aside_images"] += len(images)

    def _filed(self, document: Document, images: int) -> None:
        from lightcl_edge.data.class_names import canonical

        generation, accuracy = int(document["generation"]), document.get("holdout_accuracy")
        taught = Counter(canonical(path.parent.name) for path in self._spool.batch())
        self._spool.batch_learned(generation, delete=self._options.delete_learned)
        self.totals["batches"] += 1
        self.totals["images"] += images
        self._progress.note(
            f"generation {generation}: learned {', '.join(f'{number} of {name}' for name, number in taught.items())} "
            f"in {float(document['seconds']):.1f} s"
            + ("" if accuracy is None else f", held-out accuracy {float(accuracy):.1%}")
        )

    def _filed_again(self, generation: int, images: int) -> None:
        """File a batch that the state knows: its watcher died too early, or somebody dropped the images twice."""
        self._spool.batch_learned(generation, delete=self._options.delete_learned)
        self.totals["known_images"] += images
        self._progress.note(
            f"{count(images, 'image')} filed and not learned again: generation {generation} was taught this very batch"
        )

    def _train(self, generation: int) -> tuple[int, dict[str, Any], str]:
        """Run ``lightcl-edge train`` on the batch, from the generation that was seen without it.

        A trainer that outlived its watcher may commit a later generation at any moment: then this one ends. An
        interrupt is passed on and waited for, so that the trainer keeps a checkpoint.
        """
        command = [sys.executable, "-m", "lightcl_edge", "train", "--state", str(self._options.state)]
        command += ["--data", str(self._spool.learning), "--from-generation", str(generation)]
        command += [*self._options.train_arguments, "--json", "--quiet"]
        child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)
        try:
            out, err = child.communicate()
        except KeyboardInterrupt:
            child.send_signal(signal.SIGTERM)
            child.communicate()
            raise
        try:
            document = json.loads(out)
        except ValueError:
            document = {}
        lines = err.decode(errors="replace").strip().splitlines()
        return child.returncode, document if isinstance(document, dict) else {}, lines[-1][:300] if lines else ""
