"""One method, once, in a process started for it: ``python -m lightcl_profiler.measuring.child CHANNEL < job.json``.

CHANNEL is the number of an inherited pipe. One JSON object a line goes through it: ``{"event": "phase",
"name", "at"}`` as each phase starts (``at``: seconds of the monotonic clock, which all processes of a machine
share), then one ``result`` or ``error``.
"""

from __future__ import annotations

import json
import os
import sys
import time
from dataclasses import asdict
from typing import IO, Any

from lightcl_edge.errors import LightclError
from lightcl_edge.machine.memory import PhaseMeter, PhaseRecord
from lightcl_profiler.measuring.joining import numbered
from lightcl_profiler.measuring.shared_memory import bytes_written, torch_cuda_peaks
from lightcl_profiler.methods.contract import Job, load_method


class Channel:
    """Writes events to the parent, and remembers when each phase started.

    Args:
        stream: the pipe's end.
    """

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream
        self.starts: list[tuple[str, float]] = []

    def send(self, event: str, **values: Any) -> None:
        """One event, at once."""
        self._stream.write(json.dumps({"event": event, **values}) + "\n")
        self._stream.flush()

    def phase_started(self, name: str) -> None:
        """Tell the parent; called by the meter."""
        at = time.monotonic()
        self.starts.append((name, at))
        self.send("phase", name=name, at=at)


def phases_with_starts(
    records: list[PhaseRecord], starts: list[tuple[str, float]]
) -> list[dict[str, str | float | int]]:
    """The meter's records with the time each phase started, those that occur more than once numbered."""
    names = numbered([record.name for record in records])
    found = zip(records, names, starts, strict=True)
    return [{**asdict(record), "name": name, "at": at} for record, name, (_, at) in found]


def _measure(job: Job, channel: Channel) -> None:
    """Run the job and send the result."""
    meter = PhaseMeter(channel.phase_started)
    method = load_method(job.implementation)
    with meter.phase("start"):
        method.imports(job)
    import_rss_bytes, started = meter.peak_rss_bytes, time.monotonic()
    outcome = method.run(job, meter)
    finished = time.monotonic()
    allocated, reserved = torch_cuda_peaks()
    channel.send(
        "result",
        peak_rss_bytes=meter.peak_rss_bytes,
        import_rss_bytes=import_rss_bytes,
        phases=phases_with_starts(meter.records, channel.starts),
        work_seconds=finished - started,
        finished_at=finished,
        cpu_seconds=time.process_time(),
        bytes_written=bytes_written(),
        cuda_allocated_peak_bytes=allocated,
        cuda_reserved_peak_bytes=reserved,
        **asdict(outcome),
    )


def main() -> int:
    """Read the job, do it, report. A user's error goes to the channel, a bug's traceback to stderr."""
    with os.fdopen(int(sys.argv[1]), "w", encoding="utf-8") as stream:
        channel = Channel(stream)
        job = Job(**json.load(sys.stdin))
        try:
            _measure(job, channel)
        except LightclError as error:
            channel.send("error", kind=error.kind, message=str(error))
            return int(error.exit_code)
    return 0


if __name__ == "__main__":
    sys.exit(main())
