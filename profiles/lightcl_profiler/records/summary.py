"""The figures of runs, and their medians and spread over the runs of each method."""

import statistics
from collections.abc import Callable, Mapping, Sequence

from lightcl_edge.console.text import format_bytes
from lightcl_profiler.records.record import MethodSummary, Run, Spread

#: Field of a run, what it is called in tables, and how it is shown.
COLUMNS: list[tuple[str, str, Callable[[float], str]]] = [
    ("peak_rss_bytes", "peak RSS", format_bytes),
    ("import_rss_bytes", "imports alone", format_bytes),
    ("pss_peak_bytes", "peak PSS", format_bytes),
    ("anonymous_bytes", "anonymous", format_bytes),
    ("file_bytes", "file-backed", format_bytes),
    ("swap_bytes", "swap", format_bytes),
    ("seconds_per_image", "per image", lambda seconds: f"{seconds * 1000:.1f} ms"),
    ("wall_seconds", "wall", lambda seconds: f"{seconds:.1f} s"),
    ("cpu_seconds", "CPU", lambda seconds: f"{seconds:.1f} s"),
    ("bytes_written", "written to disk", format_bytes),
    ("cgroup_peak_bytes", "control group peak", format_bytes),
    ("memavailable_drop_bytes", "MemAvailable drop", format_bytes),
    ("nvmap_peak_bytes", "NvMap peak", format_bytes),
    ("cuda_allocated_peak_bytes", "CUDA allocated", format_bytes),
    ("cuda_reserved_peak_bytes", "CUDA reserved", format_bytes),
]


def spread(values: Sequence[float]) -> Spread:
    """The median (of an even number the lower middle one: a value that was measured), least and most."""
    return Spread(statistics.median_low(values), min(values), max(values))


def summarise(runs: Sequence[Run], titles: Mapping[str, str]) -> list[MethodSummary]:
    """One summary for each method, in the order of their first runs."""
    summaries = []
    for method in dict.fromkeys(run.method for run in runs):
        own = [run for run in runs if run.method == method]
        figures = {}
        for name, *_ in COLUMNS:
            values = [value for run in own if (value := getattr(run, name)) is not None]
            if values:
                figures[name] = spread(values)
        summaries.append(MethodSummary(method, titles.get(method, method), len(own), figures))
    return summaries


def typical_run(runs: Sequence[Run], method: str) -> Run:
    """The run of a method whose peak is the median one; its timeline and phases stand for the method."""
    own = sorted((run for run in runs if run.method == method), key=lambda run: run.peak_rss_bytes)
    return own[(len(own) - 1) // 2]
