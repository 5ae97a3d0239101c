"""Frames that wait for a label."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from lightcl_edge.serve.api.common import CONFLICT, DISK, NOT_FOUND, TOO_LARGE, UNREADABLE, refuse_missing, service_of
from lightcl_edge.serve.api.teaching import ID
from lightcl_edge.serve.records.teaching import Changed, Drop, Queue, Relabel, WaitingPicture
from lightcl_edge.serve.web.bodies import read_json_record
from lightcl_edge.serve.web.operations import Operation, answer


async def queue(request: Request) -> Response:
    waiting = service_of(request).waiting
    found = [
        WaitingPicture(
            each.id, each.reason, each.class_name or None, min(1.0, each.probability), each.taken_at, each.size_bytes
        )
        for each in waiting.items()
    ]
    return answer(Queue(found, sum(each.bytes for each in found), waiting.limit_bytes))


async def waiting_picture(request: Request) -> Response:
    found = await run_in_threadpool(service_of(request).waiting.get, request.path_params["id"])
    refuse_missing(found, "frame")
    return Response(found, media_type="image/jpeg")


async def label(request: Request) -> Response:
    service, wish = service_of(request), await read_json_record(request, Relabel)
    return answer(Changed(await run_in_threadpool(service.label_waiting, wish.ids, wish.class_name)))


async def drop(request: Request) -> Response:
    service, wish = service_of(request), await read_json_record(request, Drop)
    return answer(Changed(await run_in_threadpool(service.drop_waiting, wish.ids)))


_FAULTS = CONFLICT | DISK | TOO_LARGE
OPERATIONS: Sequence[Operation] = (
    Operation("GET", "/queue", queue, "The frames that wait for a label, newest first", Queue),
    Operation("GET", "/queue/{id}", waiting_picture, "One of them", "image/jpeg", parameters=(ID,), faults=NOT_FOUND),
    Operation("POST", "/queue/label", label, "Give frames a class", Changed, Relabel, faults=_FAULTS | UNREADABLE),
    Operation("POST", "/queue/drop", drop, "Throw frames away", Changed, Drop, faults=_FAULTS),
)
