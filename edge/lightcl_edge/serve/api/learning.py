"""Learn what was taught, and see before what it takes."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from lightcl_edge.serve.api.common import CONFLICT, DISK, TOO_LARGE, service_of
from lightcl_edge.serve.records.learning import Foreseen, Learning, LearnWish
from lightcl_edge.serve.records.teaching import Contradictions
from lightcl_edge.serve.web.bodies import read_json_record
from lightcl_edge.serve.web.operations import Operation, answer


async def learn(request: Request) -> Response:
    service, wish = service_of(request), await read_json_record(request, LearnWish)
    await run_in_threadpool(service.trainer.start, wish)
    return answer(service.trainer.learning, 202)


async def learning(request: Request) -> Response:
    return answer(service_of(request).trainer.learning)


async def foresee(request: Request) -> Response:
    return answer(await run_in_threadpool(service_of(request).trainer.foresee))


async def contradictions(request: Request) -> Response:
    return answer(await run_in_threadpool(service_of(request).contradictions))


OPERATIONS: Sequence[Operation] = (
    Operation(
        "POST",
        "/learn",
        learn,
        "Learn all that was taught, in a process of its own",
        Learning,
        LearnWish,
        faults=CONFLICT | DISK | TOO_LARGE,
        code=202,
    ),
    Operation("GET", "/learn", learning, "The running or the last learning", Learning),
    Operation("GET", "/learn/plan", foresee, "What learning would take", Foreseen, faults=CONFLICT),
    Operation(
        "GET",
        "/learn/contradictions",
        contradictions,
        "Taught pictures that the present knowledge surely calls something else",
        Contradictions,
        faults=CONFLICT,
    ),
)
