"""Runs of the benchmark in fresh processes, several at a time; each is watched from outside."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from lightcl_edge import errors
from lightcl_edge.errors import DoesNotFitError, LightclError, NoEngineError
from lightcl_edge.machine.memory import sample
from lightcl_host.benchmark.options import BenchmarkOptions
from lightcl_profiler.measuring.timeline import Timeline

#: Between two looks, and how many stay in the record.
SAMPLE_SECONDS, SAMPLES = 0.1, 200
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


@dataclass(frozen=True)
class RunJob:
    """One method with one seed.

    Attributes:
        options: of the benchmark.
        bundle: to use.
        method: its name.
        seed: of everything random.
    """

    options: BenchmarkOptions
    bundle: Path
    method: str
    seed: int


Launch = Callable[[RunJob, Callable[[str], None]], dict[str, Any]]


@dataclass
class _Told:
    """What a child has said."""

    record: dict[str, Any] | None = None
    error: dict[str, Any] | None = None
    rest: bytes = b""
    timeline: Timeline = field(default_factory=lambda: Timeline(SAMPLES))

    def take(self, data: bytes, note: Callable[[str], None]) -> None:
        *lines, self.rest = (self.rest + data).split(b"\n")
        for line in lines:
            message = json.loads(line)
            if message["event"] == "note":
                note(message["text"])
            elif message["event"] == "result":
                self.record = message["record"]
            else:
                self.error = message


class Processes:
    """Starts runs and ends those still going when one fails or the user interrupts."""

    def __init__(self) -> None:
        self._running: set[subprocess.Popen[bytes]] = set()
        self._lock = threading.Lock()
        self._stopped = False

    def run(self, job: RunJob, note: Callable[[str], None]) -> dict[str, Any]:
        """Run one in a fresh process.

        Args:
            job: what to run.
            note: tells the person who waits.

        Returns:
            Its record, with ``peak_rss_bytes`` (``VmHWM``, or more where more was seen) and ``timeline``: ``[seconds,
            RSS]``, sampled.

        Raises:
            failure: the user's error that ended it, or what a signal stands for.
        """
        read_end, write_end = os.pipe()
        command = [sys.executable, "-m", "lightcl_host.benchmark.child", str(write_end)]
        threads = job.options.threads
        limits = {} if threads is None else dict.fromkeys(_THREAD_VARIABLES, str(threads))
        with os.fdopen(read_end, "rb", buffering=0) as channel, tempfile.TemporaryFile() as output:
            process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                pass_fds=[write_end],
                env={**os.environ, **limits},
            )
            try:
                os.close(write_end)
                self._register(process)
                told = _watch(process, channel, job, note)
            finally:
                if process.poll() is None:
                    process.kill()
                process.wait()
                with self._lock:
                    self._running.discard(process)
            if told.record is None:
                failure = _failure(job, process.returncode, told, output)
                raise failure
        points = [[seconds, rss] for seconds, rss, _ in told.timeline.points]
        # the child tells its peak before it ends, and may be seen larger on its way out
        peak = max([told.record["peak_rss_bytes"], *(rss for _, rss, _ in told.timeline.points)])
        return {**told.record, "peak_rss_bytes": peak, "timeline": points}

    def _register(self, process: subprocess.Popen[bytes]) -> None:
        with self._lock:
            self._running.add(process)
            if self._stopped:
                process.kill()

    def stop(self) -> None:
        """End all that run, and whatever is started from now on."""
        with self._lock:
            self._stopped = True
            for process in self._running:
                process.kill()


def _watch(process: subprocess.Popen[bytes], channel: IO[bytes], job: RunJob, note: Callable[[str], None]) -> _Told:
    """Send the job, sample memory and read messages until the child closes its end."""
    about = {"options": job.options.to_document(), "bundle": str(job.bundle), "method": job.method, "seed": job.seed}
    if process.stdin is not None:
        with process.stdin:
            process.stdin.write(json.dumps(about).encode())
    told, started = _Told(), time.monotonic()
    while True:
        if select.select([channel], [], [], SAMPLE_SECONDS)[0]:
            data = os.read(channel.fileno(), 65536)
            if not data:
                process.wait()
                return told
            told.take(data, note)
        told.timeline.add(time.monotonic() - started, sample(process.pid, with_pss=False))


def _failure(job: RunJob, status: int, told: _Told, output: IO[bytes]) -> LightclError:
    """Why there is no record."""
    where = f"{job.method}, seed {job.seed},"
    if told.error is not None:
        kind = getattr(errors, told.error["kind"], None)
        known = isinstance(kind, type) and issubclass(kind, LightclError)
        return (kind if known else NoEngineError)(f"{where} failed: {told.error['message']}")  # type: ignore[misc]
    if status == -signal.SIGKILL:
        return DoesNotFitError(
            f"{where} was killed; the kernel does so when memory runs out: try fewer --jobs or a smaller --batch-size"
        )
    output.seek(0)
    lines = output.read().decode(errors="replace").strip().splitlines()
    said = " | ".join(line.strip() for line in lines[-3:])[-500:] or "it printed nothing"
    ended = f"was ended by {signal.Signals(-status).name}" if status < 0 else f"ended with exit status {status}"
    return NoEngineError(f"{where} {ended} and no result; last output: {said}")


def run_all(
    jobs: Sequence[RunJob], at_a_time: int, note: Callable[[str], None], launch: Launch | None = None
) -> Iterator[tuple[RunJob, dict[str, Any]]]:
    """Run jobs, so many at a time.

    Args:
        jobs: what to run, started in this order.
        at_a_time: most of them at once.
        note: tells the person who waits.
        launch: runs one; None for a fresh process each.

    Yields:
        Each job with its record, as it is done.
    """
    processes = Processes()
    start = launch or processes.run

    def one(job: RunJob) -> dict[str, Any]:
        note(f"{job.method}, seed {job.seed}")
        return start(job, note)

    with ThreadPoolExecutor(max_workers=at_a_time) as pool:
        waiting: dict[Future[dict[str, Any]], RunJob] = {pool.submit(one, job): job for job in jobs}
        try:
            for done in as_completed(waiting):
                yield waiting[done], done.result()
        except BaseException:
            for future in waiting:
                future.cancel()
            processes.stop()
            raise
