"""The board: memory, heat, disk, speed, and what happened."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from lightcl_edge.serve.api.common import service_of
from lightcl_edge.serve.board import board as board_of
from lightcl_edge.serve.board import log as log_of
from lightcl_edge.serve.records.machine import Board, Log
from lightcl_edge.serve.web.operations import Operation, answer


async def board(request: Request) -> Response:
    return answer(await run_in_threadpool(board_of, service_of(request)))


async def log(request: Request) -> Response:
    return answer(await run_in_threadpool(log_of, service_of(request).state.folder))


OPERATIONS: Sequence[Operation] = (
    Operation("GET", "/board", board, "The machine and this program on it", Board),
    Operation("GET", "/log", log, "What happened, newest first", Log),
)
