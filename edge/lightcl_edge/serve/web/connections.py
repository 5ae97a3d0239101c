"""Connections: how many there may be, and how long one may take to say what it wants."""

from __future__ import annotations

import asyncio
from typing import cast

from uvicorn.protocols.http.h11_impl import H11Protocol

from lightcl_edge.serve.web.hosts import is_loopback

#: Beyond these, new connections are closed at once.
MOST_CONNECTIONS, MOST_OF_ONE_CLIENT = 256, 48
#: How often a connection is looked at: has it sent a whole request's head, does it take what it is sent?
_PATIENCE_SECONDS = 15.0


class PatientProtocol(H11Protocol):
    """HTTP/1.1 as uvicorn speaks it, with limits that uvicorn does not have."""

    _timer: asyncio.TimerHandle | None = None
    _unsent = 0  # bytes, when it was last looked at

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(cast(asyncio.Transport, transport))
        if len(self.connections) > MOST_CONNECTIONS or self._has_too_many():
            self.transport.abort()
            return
        self._timer = self.loop.call_later(_PATIENCE_SECONDS, self._look)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        super().connection_lost(exc)

    def _has_too_many(self) -> bool:
        """Whether this client has too many; programs on this machine may have more."""
        if self.client is None or is_loopback(self.client[0]):
            return False
        clients = [getattr(each, "client", None) for each in self.connections]
        return sum(1 for each in clients if each and each[0] == self.client[0]) > MOST_OF_ONE_CLIENT

    def _look(self) -> None:
        unsent = self.transport.get_write_buffer_size()
        silent = self.cycle is None or (self.cycle.response_complete and self.conn.trailing_data[0])
        stuck = unsent > 0 and unsent == self._unsent
        if silent or stuck:
            self.transport.abort()
            return
        self._unsent = unsent
        self._timer = self.loop.call_later(_PATIENCE_SECONDS, self._look)
