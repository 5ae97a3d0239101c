"""Finds the smallest memory limit under which a method completes."""

import time
from collections.abc import Callable
from dataclasses import replace

from lightcl_edge.console.text import format_bytes
from lightcl_edge.errors import DoesNotFitError
from lightcl_edge.machine.memory_limits import UNCHECKED_BYTES
from lightcl_profiler.measuring.launcher import KilledError, run_method
from lightcl_profiler.measuring.memory_group import MemoryGroup, NoGroupError
from lightcl_profiler.methods.contract import Job
from lightcl_profiler.records.record import SmallestLimit, Trial

#: A bare Python needs more, so this limit is known to fail.
_IMPOSSIBLE_BYTES = 4 * 2**20
#: The search ends at this share of the limit found, or at 1 MiB.
_PRECISION = 0.02
_LEAST_STEP_BYTES = 2**20
#: A run that takes so many times its usual time pages its own libraries in and out; it does not count as completed.
_SLOWDOWN_LIMIT, _LEAST_TIMEOUT_SECONDS = 8.0, 60.0


def bisect(method: str, highest_bytes: int, attempt: Callable[[int], Trial]) -> SmallestLimit:
    """Search for the smallest limit under which an attempt completes, to a precision of 2 %.

    ``highest_bytes`` is tried first. If the method fails even there, nothing else is tried.
    """
    trials = [attempt(highest_bytes)]
    if not trials[0].completed:
        reason = f"it does not complete under {format_bytes(highest_bytes)}: {trials[0].reason}"
        return SmallestLimit(method, None, trials, reason)
    low, high = _IMPOSSIBLE_BYTES, highest_bytes
    while high - low > max(_PRECISION * high, _LEAST_STEP_BYTES):
        trials.append(attempt((low + high) // 2))
        if trials[-1].completed:
            high = trials[-1].limit_bytes
        else:
            low = trials[-1].limit_bytes
    return SmallestLimit(method, high, trials)


def find_smallest_limit(
    method: str, jobs: Callable[[], list[Job]], highest_bytes: int, usual_seconds: float | None
) -> SmallestLimit:
    """Run a method under one limit after the other.

    ``jobs`` makes the jobs of one run in a fresh folder, one a process. ``usual_seconds`` is what a run takes without a
    limit. Returns the smallest limit, or why there is none.
    """
    timeout = None if usual_seconds is None else max(_LEAST_TIMEOUT_SECONDS, _SLOWDOWN_LIMIT * usual_seconds)

    def attempt(limit_bytes: int) -> Trial:
        started = time.monotonic()
        reason = None
        try:
            for job in jobs():
                _run_limited(job, limit_bytes, timeout)
        except (KilledError, DoesNotFitError, TimeoutError) as error:
            reason = str(error)
        return Trial(limit_bytes, reason is None, reason, round(time.monotonic() - started, 2))

    try:
        return bisect(method, highest_bytes, attempt)
    except NoGroupError as error:
        return SmallestLimit(method, None, [], str(error))


def _run_limited(job: Job, limit_bytes: int, timeout: float | None) -> None:
    unplanned = replace(job, memory_budget_bytes=UNCHECKED_BYTES)  # the kernel decides, not the plan
    with MemoryGroup(limit_bytes) as group:
        run_method(unplanned, 1, group, timeout)
