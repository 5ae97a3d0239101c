"""Brings events from any thread to every page that listens. A slow page loses events, never time of others."""

import asyncio
import contextlib
import json
import threading
from collections.abc import AsyncGenerator
from typing import Any

#: Events that wait for one page; beyond it the page is cut off, comes back, and asks for everything anew.
_WAITING = 64
#: A line now and then, so that both ends notice when the other is gone.
_HEARTBEAT_SECONDS = 15.0
#: Only the newest of these counts.
_REPLACED = "live"


class Hub:
    """Made in the thread of the event loop, which :meth:`attach` names."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._lock = threading.Lock()
        self._newest: tuple[str, Any] | None = None
        self._posted = False
        self._listeners: set[Listener] = set()
        self._frame = asyncio.Event()
        self.closed = False

    @property
    def listeners(self) -> int:
        """How many pages listen."""
        return len(self._listeners)

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """From now on events go to pages of this loop."""
        self._loop = loop

    def publish(self, kind: str, content: Any) -> None:
        """Send an event; from any thread, never waiting."""
        loop = self._loop
        if loop is None or self.closed:
            return
        with contextlib.suppress(RuntimeError):  # the loop has ended
            if kind != _REPLACED:
                loop.call_soon_threadsafe(self._deliver, kind, content)
                return
            with self._lock:
                self._newest, posted, self._posted = (kind, content), self._posted, True
            if not posted:
                loop.call_soon_threadsafe(self._deliver_newest)

    def frame_came(self) -> None:
        """Wake up whoever waits for a frame; from any thread."""
        if self._loop is not None and not self.closed:
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._wake)

    def _wake(self) -> None:
        self._frame.set()
        self._frame = asyncio.Event()

    async def wait_for_frame(self, seconds: float) -> bool:
        """Wait for the next frame; whether one came in time."""
        try:
            await asyncio.wait_for(self._frame.wait(), max(0.0, seconds))
        except asyncio.TimeoutError:
            return False
        return not self.closed

    def _deliver_newest(self) -> None:
        with self._lock:
            newest, self._newest, self._posted = self._newest, None, False
        if newest is not None:
            self._deliver(*newest)

    def _deliver(self, kind: str, content: Any) -> None:
        if not self._listeners:
            return
        text = f"event: {kind}\ndata: {json.dumps(content, allow_nan=False)}\n\n".encode()
        for listener in list(self._listeners):
            listener.offer(kind, text)

    def close(self) -> None:
        """End all streams; in the loop's thread."""
        self.closed = True
        self._wake()
        for listener in list(self._listeners):
            listener.cut()

    async def stream(self) -> AsyncGenerator[bytes, None]:
        """The events of one page from now on, as server-sent events."""
        listener = Listener()
        self._listeners.add(listener)
        try:
            yield b"retry: 1000\n\n"
            while not self.closed and (text := await listener.next()) is not None:
                yield text
        finally:
            self._listeners.discard(listener)


class Listener:
    """The events that wait for one page."""

    def __init__(self) -> None:
        self._news = asyncio.Event()
        self._texts: list[bytes] = []
        self._live: bytes | None = None
        self._cut = False

    def offer(self, kind: str, text: bytes) -> None:
        """Keep an event for the page; a live answer replaces the one before."""
        if kind == _REPLACED:
            self._live = text
        elif len(self._texts) < _WAITING:
            self._texts.append(text)
        else:
            self._cut = True
        self._news.set()

    def cut(self) -> None:
        """End the stream."""
        self._cut = True
        self._news.set()

    async def next(self) -> bytes | None:
        """What is to be sent next; None when the stream ends."""
        try:
            await asyncio.wait_for(self._news.wait(), _HEARTBEAT_SECONDS)
        except asyncio.TimeoutError:
            return b": still here\n\n"
        self._news.clear()
        if self._cut:
            return None
        texts, self._texts = self._texts, []
        if self._live is not None:
            texts.append(self._live)
            self._live = None
        return b"".join(texts)
