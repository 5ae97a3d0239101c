"""What every source of pictures gives: its newest frame, and how it is doing."""

import threading
import time
from abc import ABC, abstractmethod
from collections import deque
from dataclasses import dataclass

#: Frames a second that a source gives before anybody has measured what the board can predict.
DEFAULT_RATE = 10.0
SLOWEST_RATE, FASTEST_RATE = 0.2, 30.0
#: Frames a second are counted over this time.
_COUNTED_SECONDS = 5.0


@dataclass(frozen=True)
class Frame:
    """A picture without metadata.

    Attributes:
        number: 1 for the first frame of a source; each newer one has a higher number.
        taken_at: seconds since 1970.
        jpeg: the file's bytes.
    """

    number: int
    taken_at: float
    jpeg: bytes


@dataclass(frozen=True)
class SourceStatus:
    """How a source is doing.

    Attributes:
        kind: ``v4l2``, ``rtsp``, ``video``, ``picamera``, ``folder`` or ``none``.
        working: whether pictures come, or would come if there were any.
        message: for a person: what is wrong and what to do; may be empty while it works.
        frames_per_second: of the last seconds.
    """

    kind: str
    working: bool
    message: str
    frames_per_second: float


class Source(ABC):
    """Keeps the newest frame only, so a slow reader never slows a camera. Any thread may call any method."""

    kind: str

    def __init__(self) -> None:
        self._news = threading.Condition()
        self._frame: Frame | None = None
        self._arrivals: deque[float] = deque(maxlen=int(_COUNTED_SECONDS * FASTEST_RATE) + 1)
        self._closed = False
        self.rate = DEFAULT_RATE

    def latest(self) -> Frame | None:
        """The newest frame; None before the first one."""
        return self._frame

    def wait_newer(self, number: int, timeout: float) -> Frame | None:
        """Wait for a frame newer than ``number`` (0 for any); None after ``timeout`` seconds or when it is closed."""
        with self._news:
            self._news.wait_for(lambda: self._closed or self._newer(number) is not None, timeout)
            return None if self._closed else self._newer(number)

    @abstractmethod
    def status(self) -> SourceStatus:
        """How it is doing now."""

    def set_rate(self, frames_per_second: float) -> None:
        """Give at most so many frames a second from now on: more than the board can predict would only cost."""
        self.rate = min(max(frames_per_second, SLOWEST_RATE), FASTEST_RATE)

    def close(self) -> None:
        """End it and whatever it has started; a second time does nothing."""
        with self._news:
            self._closed = True
            self._news.notify_all()

    def _newer(self, number: int) -> Frame | None:
        return self._frame if self._frame is not None and self._frame.number > number else None

    def _publish(self, jpeg: bytes) -> Frame:
        with self._news:
            self._frame = Frame(self._frame.number + 1 if self._frame else 1, time.time(), jpeg)
            self._arrivals.append(time.monotonic())
            self._news.notify_all()
            return self._frame

    def _frames_per_second(self) -> float:
        since = time.monotonic() - _COUNTED_SECONDS
        recent = [moment for moment in list(self._arrivals) if moment >= since]
        if len(recent) < 2:
            return len(recent) / _COUNTED_SECONDS
        return (len(recent) - 1) / (recent[-1] - recent[0]) if recent[-1] > recent[0] else 0.0
