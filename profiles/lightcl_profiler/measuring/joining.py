"""Joins the runs of one method on task after task, each in a process of its own, to one run."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from lightcl_profiler.records.record import Phase, Run, TimelinePoint

_PEAKS = (
    "cgroup_peak_bytes",
    "memavailable_drop_bytes",
    "nvmap_peak_bytes",
    "cuda_allocated_peak_bytes",
    "cuda_reserved_peak_bytes",
)


def numbered(names: Sequence[str]) -> list[str]:
    """Number names that occur more than once: ``load, train, train`` -> ``load, train 1, train 2``."""
    seen: dict[str, int] = {}
    found = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        found.append(f"{name} {seen[name]}" if list(names).count(name) > 1 else name)
    return found


def join_tasks(runs: Sequence[Run]) -> Run:
    """One run of runs that followed one another, one a task, in order.

    Peaks are the largest of all processes, not sums, because only one process exists at a time. Times and images add
    up. Loss and notes are the last task's.
    """
    if len(runs) == 1:
        return runs[0]
    phases: list[Phase] = []
    timeline: list[TimelinePoint] = []
    offset = 0.0
    for run in runs:
        phases += [replace(phase, start_seconds=round(phase.start_seconds + offset, 3)) for phase in run.phases]
        timeline += [(round(seconds + offset, 3), rss, pss) for seconds, rss, pss in run.timeline]
        offset += run.wall_seconds
    peaks: dict[str, Any] = {name: _largest([getattr(run, name) for run in runs]) for name in _PEAKS}
    names = numbered([phase.name for phase in phases])
    highest = max(runs, key=lambda run: run.peak_rss_bytes)
    images = sum(run.images for run in runs)
    return replace(
        runs[-1],
        images=images,
        peak_rss_bytes=highest.peak_rss_bytes,
        import_rss_bytes=max(run.import_rss_bytes for run in runs),
        phases=[replace(phase, name=name) for phase, name in zip(phases, names, strict=True)],
        seconds_per_image=sum(run.seconds_per_image * run.images for run in runs) / max(images, 1),
        pss_peak_bytes=_largest([run.pss_peak_bytes for run in runs]),
        anonymous_bytes=highest.anonymous_bytes,
        file_bytes=highest.file_bytes,
        swap_bytes=_largest([run.swap_bytes for run in runs]),
        wall_seconds=round(offset, 3),
        cpu_seconds=round(sum(run.cpu_seconds for run in runs), 3),
        timeline=timeline,
        bytes_written=_sum([run.bytes_written for run in runs]),
        health_before=runs[0].health_before,
        **peaks,
    )


def _sum(values: Sequence[int | None]) -> int | None:
    known = [value for value in values if value is not None]
    return sum(known) if len(known) == len(values) else None


def _largest(values: Sequence[int | None]) -> int | None:
    known = [value for value in values if value is not None]
    return max(known) if known else None
