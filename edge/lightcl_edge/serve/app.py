"""The application: routes of pages and interface, behind the guard."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache
from typing import Any

from anyio import to_thread
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from lightcl_edge import __version__
from lightcl_edge.serve.api import knowing, learning, machine, queue, teaching, watching
from lightcl_edge.serve.options import ServeOptions
from lightcl_edge.serve.service import Service
from lightcl_edge.serve.web.faults import HANDLERS
from lightcl_edge.serve.web.guard import Gate, Guard
from lightcl_edge.serve.web.hosts import KnownHosts
from lightcl_edge.serve.web.limits import Rate
from lightcl_edge.serve.web.operations import PREFIX, Operation, openapi, routes
from lightcl_edge.serve.web.pages import Pages
from lightcl_edge.serve.web.passwords import PasswordCheck, read_password
from lightcl_edge.serve.web.sessions import Sessions

OPERATIONS: tuple[Operation, ...] = (
    *watching.OPERATIONS,
    *teaching.OPERATIONS,
    *queue.OPERATIONS,
    *learning.OPERATIONS,
    *knowing.OPERATIONS,
    *machine.OPERATIONS,
)
#: Requests that work on pictures or files, at once; more wait.
_THREADS = 4
#: Requests a second that change something, of one client: holding the teach button makes five.
_REQUESTS_PER_SECOND, _REQUESTS_AT_ONCE = 20.0, 100
#: Wrong passwords of one client, and of all together.
_ATTEMPTS_PER_SECOND, _ATTEMPTS_AT_ONCE = 1 / 10, 5
_ALL_ATTEMPTS_PER_SECOND, _ALL_ATTEMPTS_AT_ONCE = 1.0, 20


def make_gate(options: ServeOptions, *, secure: bool) -> Gate:
    """The guard's means, from what is kept in the state."""
    password = read_password(options.folder)
    return Gate(
        KnownHosts([*options.names, options.host]),
        Sessions(options.folder, "" if password is None else password.scrypt),
        None if password is None else PasswordCheck(password),
        secure,
        Rate(_REQUESTS_PER_SECOND, _REQUESTS_AT_ONCE),
        Rate(_ATTEMPTS_PER_SECOND, _ATTEMPTS_AT_ONCE),
        Rate(_ALL_ATTEMPTS_PER_SECOND, _ALL_ATTEMPTS_AT_ONCE),
    )


@cache
def _description() -> dict[str, Any]:
    return openapi(OPERATIONS, __version__)


async def _openapi(_request: Request) -> Response:
    return JSONResponse(_description())


async def _metrics(request: Request) -> Response:
    from starlette.concurrency import run_in_threadpool

    from lightcl_edge.serve.metrics import metrics

    content, media_type = await run_in_threadpool(metrics, request.app.state.service)
    return Response(content, headers={"content-type": media_type})


def make_app(service: Service, gate: Gate) -> Starlette:
    """The application; the service starts and ends with it."""

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        to_thread.current_default_thread_limiter().total_tokens = _THREADS
        service.hub.attach(asyncio.get_running_loop())
        service.start()
        try:
            yield
        finally:
            await asyncio.get_running_loop().run_in_executor(None, service.close)

    more = [Route(f"{PREFIX}/openapi.json", _openapi), Route("/metrics", _metrics)]
    app = Starlette(
        routes=[*Pages(gate).routes(), *routes(OPERATIONS), *more],
        middleware=[Middleware(Guard, gate=gate)],
        exception_handlers=HANDLERS,
        lifespan=lifespan,
    )
    app.state.service = service
    return app
