"""What it knows: classes, history, and the way back."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from lightcl_edge.serve.api.common import CONFLICT, DISK, TOO_LARGE, UNREADABLE, service_of
from lightcl_edge.serve.knowledge import history as history_of
from lightcl_edge.serve.records.knowing import Forget, History, Knowledge, Moved, Rename, Rollback
from lightcl_edge.serve.web.bodies import read_json_record
from lightcl_edge.serve.web.operations import Operation, answer


async def classes(request: Request) -> Response:
    return answer(await run_in_threadpool(service_of(request).knowledge))


async def evaluation(request: Request) -> Response:
    return Response(await run_in_threadpool(service_of(request).evaluation_part), media_type="text/html")


async def rename(request: Request) -> Response:
    service, wish = service_of(request), await read_json_record(request, Rename)
    return answer(await run_in_threadpool(service.rename, wish.class_name, wish.to))


async def forget(request: Request) -> Response:
    service, wish = service_of(request), await read_json_record(request, Forget)
    return answer(await run_in_threadpool(service.forget, wish.class_name))


async def rollback(request: Request) -> Response:
    service, wish = service_of(request), await read_json_record(request, Rollback)
    return answer(await run_in_threadpool(service.roll_back, wish.to))


async def history(request: Request) -> Response:
    return answer(await run_in_threadpool(history_of, service_of(request).state))


_FAULTS = CONFLICT | UNREADABLE | DISK | TOO_LARGE
OPERATIONS: Sequence[Operation] = (
    Operation("GET", "/classes", classes, "What the generation in use knows, and how well", Knowledge, faults=CONFLICT),
    Operation("GET", "/evaluation", evaluation, "The same as a part of a page", "text/html", faults=CONFLICT),
    Operation("POST", "/classes/rename", rename, "Give a class another name", Moved, Rename, faults=_FAULTS),
    Operation("POST", "/forget", forget, "Erase a class from everything that is kept", Moved, Forget, faults=_FAULTS),
    Operation("GET", "/history", history, "The generations that are kept", History, faults=CONFLICT),
    Operation("POST", "/rollback", rollback, "Use another generation again", Moved, Rollback, faults=_FAULTS),
)
