"""Starts a method in a fresh process, watches its memory from outside, and makes the record of the run."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from typing import IO, Any

from lightcl_edge import errors
from lightcl_edge.errors import DoesNotFitError, LightclError, NoEngineError
from lightcl_edge.machine.health import look
from lightcl_edge.machine.memory import sample
from lightcl_profiler.measuring.memory_group import MemoryGroup
from lightcl_profiler.measuring.shared_memory import MachineWatch
from lightcl_profiler.measuring.timeline import Timeline
from lightcl_profiler.methods.contract import Job
from lightcl_profiler.records.record import Phase, Run

#: Between two looks; each costs the watched process about a millisecond of kernel time.
SAMPLE_SECONDS = 0.02
#: PSS is read at every so many looks.
LOOKS_A_PSS = 8
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


class KilledError(LightclError):
    """A signal ended the method's process; ``exit_code`` tells a lack of memory from the rest."""

    def __init__(self, message: str, exit_code: errors.ExitCode) -> None:
        super().__init__(message)
        self.exit_code = exit_code


@dataclass
class _Watched:
    """What is known of a running child."""

    started: float
    timeline: Timeline = field(default_factory=Timeline)
    machine: MachineWatch = field(default_factory=MachineWatch)
    phase: str = "start"
    result: dict[str, Any] | None = None
    error: dict[str, Any] | None = None

    def take(self, line: bytes) -> None:
        """Take one message of the child; a line cut off by a signal is left aside."""
        try:
            message = json.loads(line)
        except ValueError:
            return
        if message["event"] == "phase":
            self.phase = message["name"]
        elif message["event"] == "result":
            self.result = message
        elif message["event"] == "error":
            self.error = message


def run_method(job: Job, run: int, group: MemoryGroup | None = None, timeout_seconds: float | None = None) -> Run:
    """Run a method once in a process of its own.

    Args:
        job: what to do.
        run: its number, for the record.
        group: a memory control group to run it in; the caller closes it.
        timeout_seconds: after which the process is ended; None for never.

    Returns:
        What was measured.

    Raises:
        TimeoutError: when it took longer than ``timeout_seconds``.
        failure: ``KilledError`` when a signal ended the process, the error raised in it when that is
            the user's to solve, else ``NoEngineError``.
    """
    environment = {**os.environ, **dict.fromkeys(_THREAD_VARIABLES, str(job.threads))}
    read_end, write_end = os.pipe()
    command = [sys.executable, "-m", "lightcl_profiler.measuring.child", str(write_end)]
    before = look()
    with os.fdopen(read_end, "rb", buffering=0) as channel, tempfile.TemporaryFile() as stderr:
        watched = _Watched(time.monotonic())
        process = subprocess.Popen(
            command if group is None else group.command(command),
            stdin=subprocess.PIPE,
            stdout=stderr,
            stderr=stderr,
            pass_fds=[write_end],
            env=environment,
        )
        try:
            os.close(write_end)
            _send_job(process, job)
            _watch(process, channel, watched, timeout_seconds)
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()
        if watched.result is None:
            failure = _failure(job, process.returncode, watched, _tail(stderr))
            raise failure
    record = _record(job, run, watched, watched.result)
    peak = None if group is None else group.peak_bytes()
    return replace(record, cgroup_peak_bytes=peak, health_before=before, health_after=look())


def _send_job(process: subprocess.Popen[bytes], job: Job) -> None:
    """Write the job to the child's stdin; a child that died at once is reported by its exit status."""
    if process.stdin is not None:
        with suppress(BrokenPipeError), process.stdin:
            process.stdin.write(json.dumps(asdict(job)).encode())


def _watch(
    process: subprocess.Popen[bytes], channel: IO[bytes], watched: _Watched, timeout_seconds: float | None
) -> None:
    """Sample and read messages until the child closes its end of the pipe, then wait for it."""
    rest, looks = b"", 0
    while True:
        if timeout_seconds is not None and time.monotonic() - watched.started > timeout_seconds:
            raise TimeoutError(f"not done after {timeout_seconds:.0f} s, in phase {watched.phase!r}")
        if select.select([channel], [], [], SAMPLE_SECONDS)[0]:
            data = os.read(channel.fileno(), 65536)
            if not data:
                break
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                watched.take(line)
        with_pss = looks % LOOKS_A_PSS == 0  # the kernel walks all pages of the process for it
        watched.timeline.add(time.monotonic() - watched.started, sample(process.pid, with_pss=with_pss))
        looks += 1
        watched.machine.look()
    process.wait()


def _tail(stream: IO[bytes]) -> str:
    """The last lines the child wrote, for an error message."""
    stream.seek(0)
    lines = stream.read().decode(errors="replace").strip().splitlines()
    return " | ".join(line.strip() for line in lines[-3:])[-500:] or "it printed nothing"


def _failure(job: Job, status: int, watched: _Watched, tail: str) -> LightclError:
    """Why there is no result."""
    where = f"method {job.method!r} in phase {watched.phase!r}"
    if status < 0:
        name = signal.Signals(-status).name
        highest = max((point[1] for point in watched.timeline.points), default=0)
        if -status == signal.SIGKILL:
            hint = f"the kernel does so when memory runs out; its RSS was {highest} bytes at most"
            return KilledError(f"{where} was killed by {name}: {hint}", DoesNotFitError.exit_code)
        return KilledError(f"{where} was ended by {name}; last output: {tail}", NoEngineError.exit_code)
    if watched.error is not None:
        kind = getattr(errors, watched.error["kind"], None)
        known = isinstance(kind, type) and issubclass(kind, LightclError)
        return (kind if known else NoEngineError)(f"{where}: {watched.error['message']}")  # type: ignore[misc]
    return NoEngineError(f"{where} ended with exit status {status} and no result; last output: {tail}")


def _record(job: Job, run: int, watched: _Watched, result: dict[str, Any]) -> Run:
    """The run's record from the child's result and the parent's samples."""
    phases = [
        Phase(p["name"], round(p["at"] - watched.started, 3), round(p["seconds"], 4), p["peak_rss_bytes"])
        for p in result["phases"]
    ]
    return Run(
        method=job.method,
        run=run,
        images=result["images"],
        peak_rss_bytes=result["peak_rss_bytes"],
        import_rss_bytes=result["import_rss_bytes"],
        phases=phases,
        seconds_per_image=result["work_seconds"] / max(result["images"], 1),
        pss_peak_bytes=watched.timeline.pss_peak_bytes,
        anonymous_bytes=watched.timeline.anonymous_bytes,
        file_bytes=watched.timeline.file_bytes,
        swap_bytes=watched.timeline.swap_peak_bytes,
        wall_seconds=round(result["finished_at"] - watched.started, 3),
        cpu_seconds=round(result["cpu_seconds"], 3),
        loss=result["loss"],
        notes=result["notes"],
        timeline=watched.timeline.points,
        bytes_written=result["bytes_written"],
        calculated_bytes=result["calculated_bytes"],
        memavailable_drop_bytes=watched.machine.drop_bytes,
        nvmap_peak_bytes=watched.machine.nvmap_peak_bytes,
        cuda_allocated_peak_bytes=result["cuda_allocated_peak_bytes"],
        cuda_reserved_peak_bytes=result["cuda_reserved_peak_bytes"],
    )
