"""One run of the benchmark in a process started for it: ``python -m lightcl_host.benchmark.child CHANNEL < job.json``.

CHANNEL is the number of an inherited pipe. One JSON object a line goes through it: ``{"event": "note", "text"}`` for
the person who waits, then one ``result`` or ``error``. The peak is that of this whole process, testing included.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from lightcl_edge.errors import LightclError
from lightcl_edge.machine.memory import PhaseMeter


def main() -> int:
    """Read the job, do it, report. A user's error goes to the channel, a bug's traceback to stderr."""
    meter = PhaseMeter()
    with os.fdopen(int(sys.argv[1]), "w", encoding="utf-8") as stream:

        def send(event: str, **values: Any) -> None:
            stream.write(json.dumps({"event": event, **values}) + "\n")
            stream.flush()

        try:
            record = _run(json.load(sys.stdin), lambda text: send("note", text=text))
        except LightclError as error:
            send("error", kind=error.kind, message=str(error))
            return int(error.exit_code)
        from lightcl_profiler.measuring.shared_memory import torch_cuda_peaks

        allocated, reserved = torch_cuda_peaks()
        cuda = {"cuda_allocated_peak_bytes": allocated, "cuda_reserved_peak_bytes": reserved}
        send("result", record={**record, "peak_rss_bytes": meter.peak_rss_bytes, **cuda})
    return 0


def _run(job: dict[str, Any], note: Any) -> Any:
    from lightcl_host.benchmark.options import BenchmarkOptions
    from lightcl_host.benchmark.single_run import run_single

    options = BenchmarkOptions.from_document(job["options"])
    return run_single(options, Path(job["bundle"]), job["method"], job["seed"], note)


if __name__ == "__main__":
    sys.exit(main())
