"""Ctrl-C and SIGTERM wait for the end of a step, so that half-changed weights are never kept."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class DeferredInterrupt:
    """Inside ``with``, the first signal only sets ``asked``. A second one interrupts at once.

    Only signals that the program handles itself are caught: SIGTERM ends other programs at once, as ever. Outside of
    the main thread signals can't be caught, and ``asked`` stays False.
    """

    def __init__(self) -> None:
        self.asked = False
        self._previous: dict[signal.Signals, Any] = {}

    def __enter__(self) -> DeferredInterrupt:
        if threading.current_thread() is threading.main_thread():
            handled = [number for number in _SIGNALS if callable(signal.getsignal(number))]
            self._previous = {number: signal.signal(number, self._note) for number in handled}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _note(self, _number: int, _frame: FrameType | None) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True
