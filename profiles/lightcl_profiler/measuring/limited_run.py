"""One command of ``lightcl-edge`` inside a memory control group, and how it ended."""

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lightcl_edge.console.text import format_bytes
from lightcl_edge.errors import ExitCode
from lightcl_edge.machine.memory_limits import MEMORY_RESERVE_BYTES
from lightcl_profiler.measuring.memory_group import MemoryGroup

COMPLETED, REFUSED, KILLED, FAILED = "completed", "refused", "killed", "failed"


@dataclass(frozen=True)
class Attempt:
    """A run under a limit; None for what was never known."""

    bundle: str
    run: str
    engine: str
    limit_bytes: int
    allowed_bytes: int | None  # the most that its plan was allowed to need
    plan_bytes: int | None  # predicted peak
    outcome: str  # ``completed``, ``refused``, ``killed`` or ``failed``
    exit_code: int  # of the process; negative: the signal
    message: str | None
    kills: int | None  # processes of the group that the kernel killed
    group_peak_bytes: int | None  # file pages included: it may reach the limit without harm
    peak_rss_bytes: int | None  # as ``train`` itself measured it; None for other commands
    seconds: float

    @property
    def as_planned(self) -> bool:
        """It completed when its plan fits the limit, or was refused when it does not; both figures are known."""
        if self.kills or self.plan_bytes is None or self.allowed_bytes is None:
            return False
        reserved = self.allowed_bytes <= self.limit_bytes - MEMORY_RESERVE_BYTES
        return reserved and self.outcome == (COMPLETED if self.plan_bytes <= self.allowed_bytes else REFUSED)

    def line(self) -> str:
        """For the person who waits."""
        plan = "" if self.plan_bytes is None else f", plan {format_bytes(self.plan_bytes)}"
        about = f"{self.bundle} {self.run} {self.engine} in {format_bytes(self.limit_bytes)}{plan}"
        return f"{about}: {self.outcome}" + ("" if self.as_planned else f" (not as planned: {self.message})")


def run_limited(words: Sequence[str], limit_bytes: int, bundle: str, run: str, engine: str) -> Attempt:
    """Run ``lightcl-edge`` with ``words`` and ``--json`` in a memory control group.

    ``bundle``, ``run`` and ``engine`` are for the record. Raises a NoGroupError when no group can be made.
    """
    with MemoryGroup(limit_bytes) as group:
        started = time.monotonic()
        command = group.command([sys.executable, "-m", "lightcl_edge", *words, "--json", "--quiet"])
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        seconds = round(time.monotonic() - started, 2)
        kills, peak = group.kills(), group.peak_bytes()
    document = _document(done.stdout)
    error = document.get("error", {})
    told = error or document
    return Attempt(
        bundle=bundle,
        run=run,
        engine=engine,
        limit_bytes=limit_bytes,
        allowed_bytes=told.get("allowed_bytes"),
        plan_bytes=told.get("plan", {}).get("peak_bytes"),
        outcome=_outcome(done.returncode, bool(kills), told),
        exit_code=done.returncode,
        message=error.get("message") or (done.stderr.strip()[-300:] or None if done.returncode else None),
        kills=kills,
        group_peak_bytes=peak,
        peak_rss_bytes=document.get("peak_rss_bytes"),
        seconds=seconds,
    )


def _document(text: str) -> dict[str, Any]:
    try:
        document = json.loads(text)
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}


def _outcome(status: int, killed: bool, told: dict[str, Any]) -> str:
    if killed or status < 0:
        return KILLED
    if status == ExitCode.DONE:
        return COMPLETED
    return REFUSED if status == ExitCode.DOES_NOT_FIT and "plan" in told else FAILED
