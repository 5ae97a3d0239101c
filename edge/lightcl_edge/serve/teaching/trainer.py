"""Learns what was taught, one task at a time, in a child process: ``lightcl-edge train`` on the spool's batch."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from lightcl_edge.errors import BusyStateError, ExitCode, StateChangedError, UsageError
from lightcl_edge.files.durable import remove, replace_durably
from lightcl_edge.files.records import read_record
from lightcl_edge.files.strict_json import read_json
from lightcl_edge.learning.taught_batches import generation_taught
from lightcl_edge.machine.child_command import Child, Ended, run_command
from lightcl_edge.serve.records.learning import Before, Foreseen, Learning, LearnWish, Outcome
from lightcl_edge.serve.teaching.taught import TaughtPictures
from lightcl_edge.state.state import State

#: Somebody else changes the state: tried again after this time.
_PAUSE_SECONDS = 1.0
_WAITING_KINDS = (BusyStateError.__name__, StateChangedError.__name__)
_WISH = "learning.json"


class BusyError(UsageError):
    """A task is being learned, or the state is being changed otherwise."""


@dataclass(frozen=True)
class TrainerOptions:
    state: Path
    bundle: Path | None
    keep_frames: bool  # in the spool's folder, after they were learned
    train_arguments: list[str]


class Trainer:
    """Starts, watches and ends the learner.

    Args:
        tell: called with each change of :attr:`learning`, from any thread.
    """

    def __init__(
        self, options: TrainerOptions, taught: TaughtPictures, folder: Path, tell: Callable[[Learning], None]
    ) -> None:
        self._options, self._taught, self._tell = options, taught, tell
        self._state, self._wish_file = State(options.state), folder / _WISH
        self._lock = threading.Lock()  # held while a task or another change of the state runs
        self._child: Child | None = None
        self._thread: threading.Thread | None = None
        self._ending = threading.Event()
        self._started = 0.0
        self._learning = Learning(running=False)

    @property
    def learning(self) -> Learning:
        """The running or the last learning."""
        found = self._learning
        return replace(found, seconds=round(time.monotonic() - self._started, 1)) if found.running else found

    @property
    def pid(self) -> int | None:
        """The learner's process; None while none runs."""
        return None if self._child is None else self._child.pid

    def resume(self) -> bool:
        """Go on with a batch that was being learned when the last process ended; gives whether there was one."""
        if not self._taught.spool.has_batch():
            return False
        wish = LearnWish()
        with suppress(OSError, ValueError):
            wish = read_record(LearnWish, read_json(self._wish_file), "", ValueError)
        self._launch(wish, take=False)
        return True

    def start(self, wish: LearnWish) -> int:
        """Learn everything that was taught; gives how many pictures.

        Raises BusyError while a task runs, UsageError when nothing waits.
        """
        pictures = sum(self._taught.counts().values())
        if self._learning.running:
            raise BusyError("a task is being learned; wait until it is done")
        if not pictures:
            raise UsageError("there is nothing to learn yet; teach some pictures first")
        self._launch(wish, take=True)
        return pictures

    def _launch(self, wish: LearnWish, *, take: bool) -> None:
        if not self._lock.acquire(blocking=False):
            raise BusyError("what was learned is being changed; try again in a moment")
        try:
            if take:
                replace_durably(self._wish_file, json.dumps(asdict(wish)).encode())
                self._taught.take()
        except BaseException:
            self._lock.release()
            raise
        self._started = time.monotonic()
        self._change(Learning(running=True, phase="start", pictures=len(self._taught.spool.batch())))
        self._thread = threading.Thread(target=self._run, args=(wish,), name="trainer")
        self._thread.start()

    def _run(self, wish: LearnWish) -> None:
        outcome: Outcome | None = None
        try:
            outcome = self._learn(wish)
        except Exception as error:  # the page must say what happened, and the server must go on
            with suppress(OSError):
                self._taught.put_back()
            outcome = Outcome("failed", f"{type(error).__name__}: {error}", time.time())
        finally:
            self._child = None
            self._lock.release()
            self._change(Learning(running=False, outcome=outcome or self._learning.outcome))

    def _learn(self, wish: LearnWish) -> Outcome | None:
        """The batch to its end; None when the server ends first."""
        spool = self._taught.spool
        spool.tidy()
        while not self._ending.is_set():
            number, taught = generation_taught(self._state, spool.learning)
            if taught:
                return self._filed(taught, {})
            ended = self._train(number, wish)
            if ended.code == ExitCode.DONE:
                return self._filed(int(ended.document["generation"]), ended.document)
            if self._ending.is_set():
                return None
            if ended.kind in _WAITING_KINDS:
                self._change(replace(self._learning, message=f"waiting: {ended.message}"))
                self._ending.wait(_PAUSE_SECONDS)
                continue
            self._taught.put_back()
            refused = ended.code == ExitCode.REJECTED
            # What follows is advice for the command line; the page has its own.
            message = ended.message.partition("\n\n")[0].partition("; the old head stays")[0]
            return Outcome(
                "refused" if refused else "failed", message, time.time(), per_class=_per_class(ended.document)
            )
        return None

    def _train(self, generation: int, wish: LearnWish) -> Ended:
        words = ["train", "--state", str(self._options.state), "--data", str(self._taught.spool.learning)]
        words += ["--from-generation", str(generation), "--progress-json", *self._options.train_arguments]
        if self._options.bundle is not None:
            words += ["--bundle", str(self._options.bundle)]
        if wish.anyway:
            words += ["--max-forgetting", "1"]
        self._child = Child(words, self._on_line)
        if self._ending.is_set():
            self._child.interrupt()
        return self._child.wait()

    def _on_line(self, line: dict[str, Any]) -> None:
        now = self._learning
        if isinstance(phase := line.get("phase"), str):
            self._change(replace(now, phase=phase, step=None, done=0, total=0))
        elif isinstance(step := line.get("step"), str):
            self._change(replace(now, step=step, done=int(line["done"]), total=int(line["total"])))
        elif isinstance(note := line.get("note"), str):
            self._change(replace(now, message=note))

    def _filed(self, generation: int, learned: dict[str, Any]) -> Outcome:
        self._taught.spool.batch_learned(generation, delete=not self._options.keep_frames)
        remove(self._wish_file)
        return Outcome(
            "learned",
            f"generation {generation} is in use",
            time.time(),
            generation,
            learned.get("seconds"),
            learned.get("peak_rss_bytes"),
            learned.get("holdout_accuracy"),
            learned.get("holdout_right", 0),
            learned.get("holdout_images", 0),
            learned.get("new_classes", []),
            _per_class(learned),
            [*learned.get("warnings", []), *learned.get("notes", [])],
        )

    def _change(self, learning: Learning) -> None:
        self._learning = learning
        self._tell(self.learning)

    def change(self, *words: str) -> dict[str, Any]:
        """Run another command that changes the state: forget, rename, rollback; gives its document.

        Raises BusyError while a task runs, and the command's own error.
        """
        if not self._lock.acquire(timeout=_PAUSE_SECONDS):
            raise BusyError("a task is being learned; wait until it is done")
        try:
            document = run_command([words[0], "--state", str(self._options.state), *words[1:]]).result()
            self._change(replace(self._learning, outcome=None))  # it speaks of what is no longer so
            return document
        finally:
            self._lock.release()

    def foresee(self) -> Foreseen:
        """What learning everything that waits would take; a child process says so."""
        counts = self._taught.counts()
        known = self._state.read().meta.classes if self._state.exists() else []
        found = Foreseen(sum(counts.values()), counts, [name for name in counts if name not in known])
        if not counts or self._learning.running:
            return found
        words = ["train", "--dry-run", "--state", str(self._options.state), "--data", str(self._taught.spool.folder)]
        words += [*self._options.train_arguments, "--quiet"]
        if self._options.bundle is not None:
            words += ["--bundle", str(self._options.bundle)]
        ended = run_command(words)
        document = ended.document
        if ended.code != ExitCode.DONE:
            plan = document.get("error", {}).get("plan", {})
            return replace(found, problem=ended.message, peak_bytes=plan.get("peak_bytes"))
        peak, allowed = document["plan"]["peak_bytes"], document["allowed_bytes"]
        return replace(found, strategy=document["strategy"], peak_bytes=peak, allowed_bytes=allowed)

    def close(self) -> None:
        """End the learner, which keeps its checkpoint, and wait for it."""
        self._ending.set()
        if self._child is not None:
            self._child.interrupt()
        if self._thread is not None:
            self._thread.join()


def _per_class(document: dict[str, Any]) -> list[Before]:
    table = document.get("per_class") or document.get("error", {}).get("per_class") or {}
    return [
        Before(name, int(row["images"]), int(row["learned_images"]), row["before"], row["after"])
        for name, row in table.items()
    ]
