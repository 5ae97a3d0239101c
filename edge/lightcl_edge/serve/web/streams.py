"""Answers without an end: events, and the live picture."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress

from starlette.responses import Response
from starlette.types import Receive, Scope, Send


class Stream(Response):
    """Sends pieces as they come. Only the piece that is on its way waits for a slow client."""

    def __init__(self, pieces: AsyncGenerator[bytes, None], media_type: str) -> None:
        self.pieces, self.status_code, self.media_type, self.background = pieces, 200, media_type, None
        self.init_headers({"cache-control": "no-store", "x-accel-buffering": "no"})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        sending = asyncio.create_task(self._send_all(send))
        leaving = asyncio.create_task(_wait_until_gone(receive))
        try:
            await asyncio.wait({sending, leaving}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            leaving.cancel()
            # Before Python 3.12, wait_for loses a cancellation that comes just when what it waits for is done.
            while not sending.done():
                sending.cancel()
                await asyncio.wait({sending}, timeout=0.1)
            await asyncio.gather(sending, leaving, return_exceptions=True)

    async def _send_all(self, send: Send) -> None:
        with suppress(OSError):  # the client has gone
            async with aclosing(self.pieces):  # at once: a page that left must not count as one that listens
                async for piece in self.pieces:
                    await send({"type": "http.response.body", "body": piece, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _wait_until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
