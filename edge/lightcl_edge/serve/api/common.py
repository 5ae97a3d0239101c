"""What the operations share."""

from __future__ import annotations

from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request

from lightcl_edge.serve.service import Service

UNREADABLE = {422: "the picture can't be read, or the name can't be a class's"}
CONFLICT = {409: "the present state does not allow it"}
DISK = {507: "the disk is full or refuses"}
NOT_FOUND = {404: "there is none of this id"}
TOO_LARGE = {413: "the body is too large"}


def service_of(request: Request) -> Service:
    """What the operations work on."""
    found: Service = request.app.state.service
    return found


def refuse_missing(found: Any, what: str) -> None:
    """Raise a 404 when nothing was found."""
    if found is None:
        raise HTTPException(404, f"there is no {what} of this id")
