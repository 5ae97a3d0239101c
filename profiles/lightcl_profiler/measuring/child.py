"""Runs one method once, in a process started for it: ``python -m lightcl_profiler.measuring.child CHANNEL < job``."""

import sys
import time
from dataclasses import asdict
from typing import Any

from lightcl_edge.machine.process_memory import PhaseMeter, PhaseRecord
from lightcl_profiler.measuring.channel import Channel, answer
from lightcl_profiler.measuring.joining import numbered
from lightcl_profiler.measuring.shared_memory import bytes_written, torch_cuda_peaks
from lightcl_profiler.methods.contract import Job, load_method


def phases_with_starts(
    records: list[PhaseRecord], starts: list[tuple[str, float]]
) -> list[dict[str, str | float | int]]:
    """The meter's records with the time each phase started; names that occur more than once are numbered."""
    names = numbered([record.name for record in records])
    found = zip(records, names, starts, strict=True)
    return [{**asdict(record), "name": name, "at": at} for record, name, (_, at) in found]


def _measure(document: dict[str, Any], channel: Channel) -> dict[str, Any]:
    job = Job(**document)
    meter = PhaseMeter(channel.phase_started)
    method = load_method(job.implementation)
    with meter.phase("start"):
        method.imports(job)
    import_rss_bytes, started = meter.peak_rss_bytes, time.monotonic()
    outcome = method.run(job, meter)
    finished = time.monotonic()
    return {
        "peak_rss_bytes": meter.peak_rss_bytes,
        "import_rss_bytes": import_rss_bytes,
        "phases": phases_with_starts(meter.records, channel.starts),
        "work_seconds": finished - started,
        "finished_at": finished,
        "cpu_seconds": time.process_time(),
        "bytes_written": bytes_written(),
        **torch_cuda_peaks(),
        **asdict(outcome),
    }


if __name__ == "__main__":
    sys.exit(answer(_measure))
