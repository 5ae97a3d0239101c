"""Look: status, frames, predictions and events."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from typing import Annotated

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from lightcl_edge.errors import StateError
from lightcl_edge.serve.api.common import CONFLICT, DISK, TOO_LARGE, UNREADABLE, service_of
from lightcl_edge.serve.records.machine import Status
from lightcl_edge.serve.records.rules import within
from lightcl_edge.serve.records.watching import Predictions, Pushed, Settings
from lightcl_edge.serve.service import Service
from lightcl_edge.serve.sources.contract import Frame
from lightcl_edge.serve.sources.pushed import PushedSource
from lightcl_edge.serve.web.bodies import MAX_PICTURE_BYTES, number_parameter, read_body, read_json_record
from lightcl_edge.serve.web.faults import BadRequestError
from lightcl_edge.serve.web.operations import Operation, Parameter, answer
from lightcl_edge.serve.web.streams import Stream

MOST_FRAMES = 2**53
_LONGEST_WAIT_SECONDS = 10.0
_BOUNDARY = b"frame"
AFTER = Parameter(
    "after", Annotated[int, within(0, MOST_FRAMES)], "wait for a frame with a higher number", "query", required=False
)


async def status(request: Request) -> Response:
    return answer(await run_in_threadpool(service_of(request).status))


async def predict(request: Request) -> Response:
    """The picture in the body, or the newest frame."""
    service = service_of(request)
    picture, region, name = await read_body(request, MAX_PICTURE_BYTES), None, "the picture"
    if not picture:
        frame = service.source.latest()
        if frame is None:
            raise StateError("there is no frame yet; send a picture in the body")
        picture, region, name = frame.jpeg, service.settings.region, "the frame"
    found = await run_in_threadpool(service.recogniser.predict, picture, region, name)
    if found is None:
        raise StateError(service.recogniser.problem or "nothing was learned yet; teach it two classes first")
    return answer(Predictions([found]))


async def newest_frame(request: Request) -> Response:
    """A JPEG; nothing (204) when no newer frame came in time."""
    after = number_parameter(request, "after", 0, MOST_FRAMES)
    frame = await next_frame(service_of(request), after)
    if frame is None:
        return Response(status_code=204)
    return Response(frame.jpeg, media_type="image/jpeg", headers={"x-frame": str(frame.number)})


async def next_frame(service: Service, after: int, patience_seconds: float = _LONGEST_WAIT_SECONDS) -> Frame | None:
    """The newest frame once its number is above ``after``; None when none came in time."""
    loop = asyncio.get_running_loop()
    until = loop.time() + patience_seconds
    while (frame := service.source.latest()) is None or frame.number <= after:
        if not await service.hub.wait_for_frame(until - loop.time()):
            return None
    return frame


async def push_frame(request: Request) -> Response:
    """The picture in the body becomes the newest frame, where there is no camera."""
    service, picture = service_of(request), await read_body(request, MAX_PICTURE_BYTES)
    if not picture:
        raise BadRequestError("the body is empty, expected a picture")
    if not isinstance(service.source, PushedSource):
        raise StateError("the frames come from a camera here; use /predict or /teach with a picture")
    frame = await run_in_threadpool(service.source.push, picture)
    return answer(Pushed(frame.number), 201)


async def live_picture(request: Request) -> Response:
    return Stream(_parts(service_of(request)), "multipart/x-mixed-replace; boundary=frame")


async def _parts(service: Service) -> AsyncGenerator[bytes, None]:
    number = 0
    while not service.hub.closed:
        frame = await next_frame(service, number)
        if frame is not None:
            number = frame.number
            head = b"--%s\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % (_BOUNDARY, len(frame.jpeg))
            yield head + frame.jpeg + b"\r\n"


async def events(request: Request) -> Response:
    return Stream(service_of(request).hub.stream(), "text/event-stream")


async def settings(request: Request) -> Response:
    return answer(service_of(request).settings)


async def change_settings(request: Request) -> Response:
    wanted = await read_json_record(request, Settings)
    await run_in_threadpool(service_of(request).change_settings, wanted)
    return answer(service_of(request).settings)


OPERATIONS: Sequence[Operation] = (
    Operation("GET", "/status", status, "Everything that a page shows first", Status),
    Operation(
        "POST",
        "/predict",
        predict,
        "What a picture shows; without a body, what the camera shows now",
        Predictions,
        bytes,
        faults=CONFLICT | UNREADABLE | TOO_LARGE,
        may_lack_body=True,
    ),
    Operation(
        "GET",
        "/frames/latest",
        newest_frame,
        "The newest frame, or the next one; its number is in the header x-frame",
        "image/jpeg",
        parameters=(AFTER,),
        faults={204: "no newer frame came within ten seconds"},
    ),
    Operation(
        "POST",
        "/frames",
        push_frame,
        "Show a picture, where there is no camera",
        Pushed,
        bytes,
        faults=CONFLICT | UNREADABLE | TOO_LARGE,
        code=201,
    ),
    Operation("GET", "/frames/live", live_picture, "The live picture (MJPEG)", "multipart/x-mixed-replace"),
    Operation("GET", "/events", events, "Predictions and progress as server-sent events", "text/event-stream"),
    Operation("GET", "/settings", settings, "What the owner has set", Settings),
    Operation(
        "PUT",
        "/settings",
        change_settings,
        "Set all of it: region, threshold, agreement, window",
        Settings,
        Settings,
        faults=CONFLICT | DISK | TOO_LARGE,
    ),
)
