"""Starts a child process, samples its memory from outside and reads its messages until it ends."""

import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import IO, Any

from lightcl_edge import errors
from lightcl_edge.errors import DoesNotFitError, LightclError, NoEngineError
from lightcl_edge.machine.process_memory import sample
from lightcl_profiler.measuring.memory_group import MemoryGroup
from lightcl_profiler.measuring.shared_memory import MachineWatch
from lightcl_profiler.measuring.timeline import Timeline

_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


@dataclass(frozen=True)
class Start:
    module: str  # run with ``python -m``; it calls :func:`lightcl_profiler.measuring.channel.answer`
    job: dict[str, Any]  # for the child, ready for JSON
    threads: int | None  # of each numerical library in the child; None for all processors
    sample_seconds: float  # between two looks
    looks_a_pss: int = 0  # PSS is read at every so many looks, because the kernel walks all pages for it; 0 for never
    group: MemoryGroup | None = None  # the caller closes it
    timeout_seconds: float | None = None  # after which the child is ended


@dataclass
class Watched:
    """What is known of a child; complete once it has ended."""

    timeline: Timeline = field(default_factory=Timeline)
    note: Callable[[str], None] | None = None
    started: float = field(default_factory=time.monotonic)
    machine: MachineWatch = field(default_factory=MachineWatch)
    phase: str = "start"
    result: dict[str, Any] | None = None
    error: dict[str, Any] | None = None
    status: int = 0
    last_output: str = ""

    def take(self, line: bytes) -> None:
        """Take one message of the child; a line that a signal cut off is ignored."""
        try:
            message = json.loads(line)
        except ValueError:
            return
        if message["event"] == "phase":
            self.phase = message["name"]
        elif message["event"] == "note" and self.note is not None:
            self.note(message["text"])
        elif message["event"] == "result":
            self.result = message
        elif message["event"] == "error":
            self.error = message

    def failure(self, where: str, advice: str = "") -> LightclError:
        """Why there is no result: the error that ended the child, or what its end stands for.

        ``where`` says which child, ``advice`` what to do when memory ran out. That is a ``DoesNotFitError``; any other
        end is a ``NoEngineError``, unless the child itself sent a user's error.
        """
        if self.status == -signal.SIGKILL:
            highest = max((point[1] for point in self.timeline.points), default=0)
            hint = f"the kernel does so when memory runs out; its RSS was {highest} bytes at most{advice}"
            return DoesNotFitError(f"{where} was killed by SIGKILL: {hint}")
        if self.error is not None:
            kind = getattr(errors, self.error["kind"], None)
            known = isinstance(kind, type) and issubclass(kind, LightclError)
            return (kind if known else NoEngineError)(f"{where}: {self.error['message']}")  # type: ignore[misc]
        ended = f"ended with exit status {self.status}"
        if self.status < 0:
            ended = f"was ended by {signal.Signals(-self.status).name}"
        return NoEngineError(f"{where} {ended} and no result; last output: {self.last_output}")


def watch(start: Start, watched: Watched, started: Callable[[subprocess.Popen[bytes]], None] | None = None) -> Watched:
    """Start a child and watch it until it ends; returns ``watched``.

    ``started`` is given the process, to end it early. Raises a TimeoutError when it took longer than the start allows.
    """
    limits = {} if start.threads is None else dict.fromkeys(_THREAD_VARIABLES, str(start.threads))
    read_end, write_end = os.pipe()
    command = [sys.executable, "-m", start.module, str(write_end)]
    with os.fdopen(read_end, "rb", buffering=0) as channel, tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            command if start.group is None else start.group.command(command),
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
            pass_fds=[write_end],
            env={**os.environ, **limits},
        )
        try:
            os.close(write_end)
            if started is not None:
                started(process)
            _send_job(process, start.job)
            _listen(process, channel, start, watched)
        finally:
            if process.poll() is None:
                process.kill()
            watched.status = process.wait()
        watched.last_output = _last_lines(output)
    return watched


def _send_job(process: subprocess.Popen[bytes], job: dict[str, Any]) -> None:
    """A child that died at once is reported by its exit status."""
    if process.stdin is not None:
        with suppress(BrokenPipeError), process.stdin:
            process.stdin.write(json.dumps(job).encode())


def _listen(process: subprocess.Popen[bytes], channel: IO[bytes], start: Start, watched: Watched) -> None:
    """Sample and read messages until the child closes its end of the pipe, then wait for it."""
    rest, looks = b"", 0
    while True:
        seconds = time.monotonic() - watched.started
        if start.timeout_seconds is not None and seconds > start.timeout_seconds:
            raise TimeoutError(f"not done after {start.timeout_seconds:.0f} s, in phase {watched.phase!r}")
        if select.select([channel], [], [], start.sample_seconds)[0]:
            data = os.read(channel.fileno(), 65536)
            if not data:
                break
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                watched.take(line)
        with_pss = start.looks_a_pss > 0 and looks % start.looks_a_pss == 0
        watched.timeline.add(time.monotonic() - watched.started, sample(process.pid, with_pss=with_pss))
        looks += 1
        watched.machine.look()
    process.wait()


def _last_lines(stream: IO[bytes]) -> str:
    stream.seek(0)
    lines = stream.read().decode(errors="replace").strip().splitlines()
    return " | ".join(line.strip() for line in lines[-3:])[-500:] or "it printed nothing"
