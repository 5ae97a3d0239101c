"""Profiles of several boards, and a benchmark's accuracies, as one HTML page."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from lightcl_profiler.records.accuracy import Benchmark
from lightcl_profiler.records.comparing import work_differences
from lightcl_profiler.records.record import Report
from lightcl_profiler.records.summary import typical_run
from lightcl_profiler.reports.charts import Series, memory_chart, tasks_chart
from lightcl_profiler.reports.comparison import comparison, methods_of
from lightcl_profiler.reports.page import render
from lightcl_profiler.reports.profile import figures, method_curves, overlay
from lightcl_profiler.reports.text import headline, machine_lines, work_lines


def render_boards(reports: Sequence[Report], benchmark: Benchmark | None, names: Sequence[str]) -> str:
    """The page of at least one profile; ``names`` is what to call each board."""
    found = [headline(report) for report in reports]
    if len(reports) > 1:
        found = [f"On {name}: {text}" for name, text in zip(names, found, strict=True)]
    series = _series(methods_of(reports), benchmark)
    return render(
        "boards.html",
        title=f"Continual learning with {reports[0].work.model}",
        lead=" ".join(found),
        differences=work_differences(reports, names),
        comparison=comparison(reports, benchmark, names),
        accuracy=benchmark,
        legend=[(each.colour, each.label) for each in series],
        over_tasks=partial(tasks_chart, series),
        boards=[_board(report, name, series) for report, name in zip(reports, names, strict=True)],
    )


def _series(methods: Sequence[str], benchmark: Benchmark | None) -> list[Series]:
    known = {} if benchmark is None else benchmark.by_method
    return [
        Series(name, colour, known[name].after_each_task, 0) for colour, name in enumerate(methods) if name in known
    ]


def _board(report: Report, name: str, series: Sequence[Series]) -> dict[str, Any]:
    run = {each.method for each in report.runs}
    points = [
        Series(each.label, each.colour, each.shares, typical_run(report.runs, each.label).peak_rss_bytes)
        for each in series
        if each.label in run
    ]
    return {
        "name": name,
        "against_memory": partial(memory_chart, points),
        "overlay": overlay(method_curves(report)),
        "figures": figures(report),
        "machine": [*machine_lines(report.machine), *work_lines(report), ("made", report.created)],
        "command": report.command,
    }
