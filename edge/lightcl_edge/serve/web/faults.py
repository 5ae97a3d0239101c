"""Errors as answers: every one is a JSON document with a kind and a message, never a traceback."""

from __future__ import annotations

import errno
import os
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from lightcl_edge.console.text import printable
from lightcl_edge.errors import DataError, LightclError, StorageError


class BadRequestError(Exception):
    """A request that the interface's description does not allow."""


class TooLargeError(Exception):
    """A request with a body beyond the limit."""


def fault(code: int, kind: str, message: str, headers: dict[str, str] | None = None) -> Response:
    """The answer of an error."""
    return JSONResponse({"error": {"kind": kind, "message": printable(message)}}, code, headers)


async def on_bad_request(_request: Request, error: Exception) -> Response:
    return fault(400, "BadRequestError", str(error))


async def on_too_large(_request: Request, error: Exception) -> Response:
    return fault(413, "TooLargeError", str(error), {"connection": "close"})


async def on_lightcl_error(_request: Request, error: Exception) -> Response:
    """422 for what was sent, 507 for the disk, 409 for what the present state does not allow."""
    code = 422 if isinstance(error, DataError) else 507 if isinstance(error, StorageError) else 409
    return fault(code, getattr(error, "kind", "Error"), str(error))


async def on_os_error(_request: Request, error: Exception) -> Response:
    full = isinstance(error, OSError) and error.errno == errno.ENOSPC
    what = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else str(error)
    hint = "; free some space and try again" if full else ""
    return fault(507, "StorageError", f"the disk refuses: {what}{hint}")


async def on_http_error(_request: Request, error: Exception) -> Response:
    code = error.status_code if isinstance(error, HTTPException) else 500
    headers = dict(error.headers or {}) if isinstance(error, HTTPException) else {}
    detail = error.detail if isinstance(error, HTTPException) else ""
    return fault(
        code, HTTPStatus(code).phrase.title().replace(" ", "") + "Error", detail or HTTPStatus(code).phrase, headers
    )


async def on_anything(_request: Request, error: Exception) -> Response:
    """A mistake of this program: its traceback is in the log, the client gets its name."""
    return fault(500, "InternalError", f"this is a mistake of the program ({type(error).__name__}); the log has more")


HANDLERS: dict[Any, Callable[[Request, Exception], Awaitable[Response]]] = {
    BadRequestError: on_bad_request,
    TooLargeError: on_too_large,
    LightclError: on_lightcl_error,
    OSError: on_os_error,
    HTTPException: on_http_error,
    Exception: on_anything,
}
