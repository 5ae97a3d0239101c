"""Teach: pictures that get a label, until they are learned."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from lightcl_edge.errors import StateError
from lightcl_edge.serve.api.common import CONFLICT, DISK, NOT_FOUND, TOO_LARGE, UNREADABLE, refuse_missing, service_of
from lightcl_edge.serve.api.watching import AFTER, MOST_FRAMES, next_frame
from lightcl_edge.serve.records.fields import CLASS_NAME, ClassName, PictureId
from lightcl_edge.serve.records.teaching import Changed, Drop, Relabel, Taught, Teaching
from lightcl_edge.serve.sources.jpeg import clean
from lightcl_edge.serve.web.bodies import (
    MAX_PICTURE_BYTES,
    number_parameter,
    read_body,
    read_json_record,
    text_parameter,
)
from lightcl_edge.serve.web.operations import Operation, Parameter, answer

_CLASS = Parameter("class_name", ClassName, "what the picture shows", "query")
#: How long a wish for a new frame waits.
_PATIENCE_SECONDS = 3.0
ID = Parameter("id", PictureId, "of the picture")


async def teach(request: Request) -> Response:
    """The picture in the body, or the newest frame."""
    service = service_of(request)
    class_name = text_parameter(request, "class_name", CLASS_NAME)
    after = number_parameter(request, "after", 0, MOST_FRAMES)
    picture, region, number = await read_body(request, MAX_PICTURE_BYTES), None, None
    if not picture:
        frame = await next_frame(service, after, _PATIENCE_SECONDS)
        if frame is None:
            raise StateError("no new frame comes from the camera; send a picture in the body")
        picture, region, number = frame.jpeg, service.settings.region, frame.number
    name = await run_in_threadpool(service.taught.add, class_name, picture, region)
    service.tell_taught()
    return answer(Teaching(name, class_name, number, service.taught.counts()), 201)


async def taught(request: Request) -> Response:
    return answer(await run_in_threadpool(service_of(request).taught.listed))


async def taught_picture(request: Request) -> Response:
    found = await run_in_threadpool(service_of(request).taught.read, request.path_params["id"])
    refuse_missing(found, "picture")
    return Response(await run_in_threadpool(clean, found or b"", "the picture"), media_type="image/jpeg")


async def relabel(request: Request) -> Response:
    service, wish = service_of(request), await read_json_record(request, Relabel)
    changed = await run_in_threadpool(service.taught.relabel, wish.ids, wish.class_name)
    service.tell_taught()
    return answer(Changed(changed))


async def drop(request: Request) -> Response:
    service, wish = service_of(request), await read_json_record(request, Drop)
    changed = await run_in_threadpool(service.taught.drop, wish.ids)
    service.tell_taught()
    return answer(Changed(changed))


OPERATIONS: Sequence[Operation] = (
    Operation(
        "POST",
        "/teach",
        teach,
        "Give a picture a class; without a body, the camera's newest frame. It is on the disk when this answers",
        Teaching,
        bytes,
        (_CLASS, AFTER),
        CONFLICT | UNREADABLE | DISK | TOO_LARGE,
        201,
        may_lack_body=True,
    ),
    Operation("GET", "/taught", taught, "The pictures that wait to be learned", Taught),
    Operation("GET", "/taught/{id}", taught_picture, "One of them", "image/jpeg", parameters=(ID,), faults=NOT_FOUND),
    Operation(
        "POST",
        "/taught/relabel",
        relabel,
        "Give pictures another class",
        Changed,
        Relabel,
        faults=CONFLICT | DISK | TOO_LARGE,
    ),
    Operation("POST", "/taught/drop", drop, "Remove pictures", Changed, Drop, faults=CONFLICT | DISK | TOO_LARGE),
)
