"""Medians and spread over the runs of each method."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

from lightcl_profiler.records.record import MethodSummary, Run, Spread

FIGURES = (
    "peak_rss_bytes",
    "import_rss_bytes",
    "pss_peak_bytes",
    "anonymous_bytes",
    "file_bytes",
    "swap_bytes",
    "seconds_per_image",
    "wall_seconds",
    "cpu_seconds",
    "bytes_written",
    "cgroup_peak_bytes",
    "memavailable_drop_bytes",
    "nvmap_peak_bytes",
    "cuda_allocated_peak_bytes",
    "cuda_reserved_peak_bytes",
)


def spread(values: Sequence[float]) -> Spread:
    """The median (of an even number the lower middle one: a value that was measured), least and most."""
    return Spread(statistics.median_low(values), min(values), max(values))


def summarise(runs: Sequence[Run], titles: Mapping[str, str]) -> list[MethodSummary]:
    """One summary for each method, in the order of their first runs."""
    summaries = []
    for method in dict.fromkeys(run.method for run in runs):
        own = [run for run in runs if run.method == method]
        figures = {}
        for name in FIGURES:
            values = [value for run in own if (value := getattr(run, name)) is not None]
            if values:
                figures[name] = spread(values)
        summaries.append(MethodSummary(method, titles.get(method, method), len(own), figures))
    return summaries


def typical_run(runs: Sequence[Run], method: str) -> Run:
    """The run of a method whose peak is the median one; its timeline and phases stand for the method."""
    own = sorted((run for run in runs if run.method == method), key=lambda run: run.peak_rss_bytes)
    return own[(len(own) - 1) // 2]
