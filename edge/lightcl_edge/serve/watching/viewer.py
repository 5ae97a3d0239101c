"""Looks at the newest frame, again and again: what it shows, and whether its label would teach something."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass, replace

from lightcl_edge.data.decoding import ByteImage
from lightcl_edge.data.region import Region
from lightcl_edge.errors import LightclError
from lightcl_edge.serve.hub import Hub
from lightcl_edge.serve.records.watching import Answer, Live, Prediction, Settings
from lightcl_edge.serve.sources.contract import Frame, Source
from lightcl_edge.serve.watching.answer import StableAnswer
from lightcl_edge.serve.watching.recogniser import Prepared, Recogniser, Seen
from lightcl_edge.serve.watching.waiting import WaitingFrames, reason_to_wait

#: Predictions a second are counted over this time.
_COUNTED_SECONDS = 5.0
#: The least time between two answers that pages are told.
_SECONDS_BETWEEN_EVENTS = 0.04
#: How often the source is told what the board can predict.
_RATE_SECONDS = 2.0
#: The time of a prediction is the median of the last ones: the first after learning has to load a model.
_TIMED_PREDICTIONS = 15
#: The pause between predictions while a task is learned: the learner gets the processors.
_SECONDS_BETWEEN_WHILE_LEARNING = 0.2
#: One is decoded, one is in the trunk, one in the head.
_FRAMES_AT_ONCE = 3


@dataclass(frozen=True)
class _Coming:
    frame: Frame
    region: Region | None  # that is looked at
    pixels: ByteImage | None = None  # at the trunk's input size; None while nothing was learned
    prepared: Prepared | None = None
    problem: str | None = None  # why the frame can't be read
    seconds: float = 0.0  # of the longest stage so far


class Viewer:
    """Always takes the newest frame; what it does not manage to see is passed over.

    Three threads work on three frames: one decodes, one runs the trunk, one the head and what follows. While
    ``learning`` is set, one frame after the other is looked at, a few a second only.
    """

    def __init__(
        self, source: Source, recogniser: Recogniser, waiting: WaitingFrames, hub: Hub, settings: Settings
    ) -> None:
        self._source, self._recogniser, self._waiting, self._hub = source, recogniser, waiting, hub
        self.settings = settings
        self.learning = False
        self.listeners: list[Callable[[Live, Frame], None]] = []
        self.live: Live | None = None
        self._unreadable: str | None = None  # what is wrong with the last frame
        self._not_kept: str | None = None  # why frames that should wait for a label do not
        self._stable, self._stable_for = StableAnswer(), (settings, -1)
        self._moments: deque[float] = deque(maxlen=512)
        self._seconds: deque[float] = deque(maxlen=_TIMED_PREDICTIONS)
        self._next_rate, self._next_event, self._rate = 0.0, 0.0, 0.0
        self._number = 0  # of the last frame that was taken
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="viewer", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def close(self) -> None:
        """End; the source must be closed before, so that nobody waits for it."""
        self._closing.set()
        if self._thread.is_alive():
            self._thread.join()

    @property
    def problem(self) -> str | None:
        """With the last frame or the disk, for a person; None when there is none."""
        return self._unreadable or self._not_kept

    def predictions_per_second(self) -> float:
        """Of the last seconds."""
        since = time.monotonic() - _COUNTED_SECONDS
        recent = [moment for moment in list(self._moments) if moment >= since]
        if len(recent) < 2 or recent[-1] == recent[0]:
            return 0.0
        return round((len(recent) - 1) / (recent[-1] - recent[0]), 1)

    def tell_queue(self) -> None:
        """Pages learn how many frames wait for a label."""
        self._hub.publish("queue", {"count": len(self._waiting)})

    def _watch(self) -> None:
        with ThreadPoolExecutor(1, "decoder") as decoder, ThreadPoolExecutor(1, "trunk") as trunk:
            coming: deque[Future[_Coming | None]] = deque()
            while not self._closing.is_set():
                while len(coming) < (1 if self.learning else _FRAMES_AT_ONCE):
                    coming.append(trunk.submit(self._prepare, decoder.submit(self._decode)))
                found = coming.popleft().result()
                if found is not None:
                    self._see(found)
                if self.learning:
                    self._closing.wait(_SECONDS_BETWEEN_WHILE_LEARNING)

    def _decode(self) -> _Coming | None:
        frame = self._source.wait_newer(self._number, 0.5)
        if frame is None:
            return None
        self._number = frame.number
        self._hub.frame_came()
        started, region, pixels, problem = time.monotonic(), self.settings.region, None, None
        try:
            pixels = self._recogniser.pixels(frame.jpeg, region, "the frame")
        except (LightclError, OSError) as error:  # a broken frame, or no memory: the next one may do
            problem = str(error)
        return _Coming(frame, region, pixels, None, problem, time.monotonic() - started)

    def _prepare(self, decoded: Future[_Coming | None]) -> _Coming | None:
        coming = decoded.result()
        if coming is None or coming.pixels is None:
            return coming
        started, prepared = time.monotonic(), None
        with suppress(LightclError, OSError):  # then it is tried again when the frame is seen, and told
            prepared = self._recogniser.prepare(coming.pixels)
        return replace(coming, pixels=None, prepared=prepared, seconds=max(coming.seconds, time.monotonic() - started))

    def _see(self, coming: _Coming) -> None:
        frame, started = coming.frame, time.monotonic()
        self._unreadable = coming.problem
        if coming.problem is not None:
            return
        region = self.settings.region
        prepared = coming.prepared if region == coming.region else None
        try:
            seen = self._recogniser.see(frame.jpeg, region, "the frame", prepared)
        except (LightclError, OSError) as error:
            self._unreadable = str(error)
            return
        now = time.monotonic()
        self._moments.append(now)
        prediction = None if seen is None else seen.prediction
        if seen is not None:
            self._adapt(now, max(now - started, coming.seconds))
        answer, changed = self._answer(prediction)
        due = changed or now >= self._next_event
        if due or self.live is None:
            self._rate = self.predictions_per_second()
        self.live = Live(frame.number, frame.taken_at, answer, prediction, self._rate)
        if due:
            self._next_event = now + _SECONDS_BETWEEN_EVENTS
            self._hub.publish("live", asdict(self.live))
        if seen is not None:
            self._offer(frame, seen, changed)
        for listener in self.listeners:
            listener(self.live, frame)

    def _adapt(self, now: float, seconds: float) -> None:
        """The source gives what the board can predict: more would only cost."""
        self._seconds.append(seconds)
        if now >= self._next_rate and len(self._seconds) > 2:
            self._next_rate = now + _RATE_SECONDS
            median = sorted(self._seconds)[len(self._seconds) // 2]
            self._source.set_rate(1.0 / max(median, 1e-3))

    def _answer(self, prediction: Prediction | None) -> tuple[Answer, bool]:
        """The answer over the last frames, and whether it is another one than before."""
        if prediction is None:
            return Answer(None, 0.0, "nothing learned"), False
        wanted = self.settings, prediction.generation
        if wanted != self._stable_for:
            settings = self.settings
            window = 1 if self._source.kind == "none" else settings.window  # single pictures have nothing in common
            self._stable = StableAnswer(settings.threshold, settings.agreement, window)
            self._stable_for = wanted
        best = prediction.top[0]
        found = self._stable.add(best.class_name, best.probability, never_seen=prediction.unknown)
        return Answer(found.class_name, min(1.0, found.probability), found.kind), found.changed

    def _offer(self, frame: Frame, seen: Seen, changed: bool) -> None:
        prediction, best = seen.prediction, seen.prediction.top[0]
        unsure = prediction.unsure or best.probability < self.settings.threshold
        changed = changed and self._source.kind != "none"  # another picture is no change of what a camera sees
        reason = reason_to_wait(unsure=unsure, never_seen=prediction.unknown, changed=changed)
        if reason is None or not self._waiting.is_due(frame.taken_at):
            return
        try:
            about = reason, best.class_name, best.probability, seen.features
            kept = self._waiting.offer(frame.jpeg, frame.taken_at, *about)
            self._not_kept = None
        except LightclError as error:
            self._not_kept = str(error)
        else:
            if kept is not None:
                self.tell_queue()
