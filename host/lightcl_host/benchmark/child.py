"""Runs one method with one seed in a process started for it: ``python -m lightcl_host.benchmark.child CHANNEL < job``.

The peak is that of this whole process, testing included.
"""

import sys
from pathlib import Path
from typing import Any

from lightcl_edge.machine.process_memory import PhaseMeter
from lightcl_host.benchmark.options import BenchmarkOptions
from lightcl_profiler.measuring.channel import Channel, answer
from lightcl_profiler.measuring.shared_memory import torch_cuda_peaks


def _run(job: dict[str, Any], channel: Channel) -> dict[str, Any]:
    from lightcl_host.benchmark.single_run import run_single

    meter = PhaseMeter()
    options = BenchmarkOptions.from_document(job["options"])
    record = run_single(options, Path(job["bundle"]), job["method"], job["seed"], channel.note)
    return {"record": {**record, "peak_rss_bytes": meter.peak_rss_bytes, **torch_cuda_peaks()}}


if __name__ == "__main__":
    sys.exit(answer(_run))
