"""Runs of the benchmark in fresh processes, several at a time."""

import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from lightcl_host.benchmark.options import BenchmarkOptions
from lightcl_profiler.measuring.timeline import Timeline
from lightcl_profiler.measuring.watched_process import Start, Watched, watch

_SAMPLE_SECONDS = 0.1
#: How many samples stay in the record.
_SAMPLES = 200
_LESS_MEMORY = "; try fewer --jobs or a smaller --batch-size"


@dataclass(frozen=True)
class RunJob:
    """One method with one seed, on a bundle."""

    options: BenchmarkOptions
    bundle: Path
    method: str
    seed: int


class Launcher(Protocol):
    """Where runs run: each is called in a thread of its own."""

    def run(self, job: RunJob, note: Callable[[str], None]) -> dict[str, Any]:
        """Run a method; gives its record."""

    def stop(self) -> None:
        """End all that still run, and whatever is started from now on."""


class Processes:
    """Starts runs, and can end all of them."""

    def __init__(self) -> None:
        self._started: list[subprocess.Popen[bytes]] = []
        self._lock = threading.Lock()
        self._stopped = False

    def run(self, job: RunJob, note: Callable[[str], None]) -> dict[str, Any]:
        """Run a method in a fresh process.

        Returns its record with ``peak_rss_bytes``, the highest that the kernel or a sample saw, and ``timeline``,
        sampled ``[seconds, RSS]``. Raises the user's error that ended it, or what its end stands for.
        """
        options, bundle = job.options.to_document(), str(job.bundle)
        about = {"options": options, "bundle": bundle, "method": job.method, "seed": job.seed}
        start = Start("lightcl_host.benchmark.child", about, job.options.threads, _SAMPLE_SECONDS)
        watched = watch(start, Watched(Timeline(_SAMPLES), note), self._register)
        if watched.result is None:
            failure = watched.failure(f"method {job.method!r} with seed {job.seed}", _LESS_MEMORY)
            raise failure
        record = watched.result["record"]
        points = [[seconds, rss] for seconds, rss, _ in watched.timeline.points]
        # the child tells its peak before it ends, and may grow further on its way out
        peak = max([record["peak_rss_bytes"], *(rss for _, rss in points)])
        return {**record, "peak_rss_bytes": peak, "timeline": points}

    def _register(self, process: subprocess.Popen[bytes]) -> None:
        with self._lock:
            self._started.append(process)
            if self._stopped:
                process.kill()

    def stop(self) -> None:
        """End all that still run, and whatever is started from now on."""
        with self._lock:
            self._stopped = True
            for process in self._started:
                process.kill()


def run_all(
    jobs: Sequence[RunJob], at_a_time: int, note: Callable[[str], None], launcher: Launcher | None = None
) -> Iterator[tuple[RunJob, dict[str, Any]]]:
    """Run jobs side by side, and yield each with its record as it is done.

    When one fails or the user interrupts, all others are ended. ``launcher`` is None for processes here.
    """
    launcher = launcher or Processes()

    def one(job: RunJob) -> dict[str, Any]:
        note(f"{job.method}, seed {job.seed}")
        return launcher.run(job, note)

    with ThreadPoolExecutor(max_workers=at_a_time) as pool:
        waiting: dict[Future[dict[str, Any]], RunJob] = {pool.submit(one, job): job for job in jobs}
        try:
            for done in as_completed(waiting):
                yield waiting[done], done.result()
        except BaseException:
            for future in waiting:
                future.cancel()
            launcher.stop()
            raise
