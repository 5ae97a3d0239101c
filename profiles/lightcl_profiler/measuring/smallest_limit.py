"""The smallest memory limit under which a method completes: the proof a user can repeat."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

from lightcl_edge.console.text import format_bytes
from lightcl_edge.errors import DoesNotFitError
from lightcl_edge.machine.limits import UNCHECKED_BYTES
from lightcl_profiler.measuring.launcher import KilledError, run_method
from lightcl_profiler.measuring.memory_group import MemoryGroup, NoGroupError
from lightcl_profiler.methods.contract import Job
from lightcl_profiler.records.record import SmallestLimit, Trial

#: A bare Python needs more: it is known to fail without being tried.
_IMPOSSIBLE_BYTES = 4 * 2**20
#: The search ends at this share of the limit found, or at 1 MiB.
_PRECISION = 0.02
_LEAST_STEP_BYTES = 2**20
#: A run that pages its own libraries in and out for this many times its usual time has not completed.
SLOWDOWN_LIMIT, _LEAST_TIMEOUT_SECONDS = 8.0, 60.0


def bisect(method: str, highest_bytes: int, attempt: Callable[[int], Trial]) -> SmallestLimit:
    """Search between what is impossible and ``highest_bytes``.

    Args:
        method: its name.
        highest_bytes: tried first; when even this does not do, nothing else is tried.
        attempt: runs under a limit.

    Returns:
        The smallest limit that did, to a precision of 2 %.
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
    """Run a method under ever other limits.

    Args:
        method: its name.
        jobs: makes the jobs of one run in a fresh folder, one a process.
        highest_bytes: the largest limit tried.
        usual_seconds: what a run takes without a limit; None when unknown.

    Returns:
        The smallest limit, or why there is none.
    """
    timeout = None if usual_seconds is None else max(_LEAST_TIMEOUT_SECONDS, SLOWDOWN_LIMIT * usual_seconds)

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
    group = MemoryGroup(limit_bytes)
    try:
        unplanned = replace(job, memory_budget_bytes=UNCHECKED_BYTES)  # the kernel is asked, not the plan
        run_method(unplanned, 1, group, timeout)
    finally:
        group.close()
