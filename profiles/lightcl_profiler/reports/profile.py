"""A profile as one HTML page, and the parts of it that the page of several boards has too."""

from functools import partial
from typing import Any

from lightcl_edge.console.text import format_bytes
from lightcl_edge.machine.health import Health, slowed_down
from lightcl_profiler.devices.profile import load_profile
from lightcl_profiler.records.record import Report
from lightcl_profiler.records.summary import COLUMNS, typical_run
from lightcl_profiler.reports.charts import FEW_CURVES, Bar, Curve, bar_chart, overlay_chart
from lightcl_profiler.reports.page import Column, Table, columns, render, with_note
from lightcl_profiler.reports.text import figure, headline, machine_lines, work_lines

#: Boards whose memory is drawn beside the peaks: 512 MB, 1 GB and 2 GB.
_BOARDS = {"rpi-zero-2w": "Pi Zero 2 W", "rpi3": "1 GB (Pi 3)", "rpi4-2gb": "2 GB (Pi 4)"}
#: Tables of all figures: what is above each, and what is in it.
FIGURE_TABLES = {
    "Memory of the process": "peak_rss_bytes import_rss_bytes pss_peak_bytes anonymous_bytes file_bytes swap_bytes",
    "Time and disk": "seconds_per_image wall_seconds cpu_seconds bytes_written",
    "Memory as the machine counts it": "cgroup_peak_bytes memavailable_drop_bytes nvmap_peak_bytes "
    "cuda_allocated_peak_bytes cuda_reserved_peak_bytes",
}


def render_profile(report: Report) -> str:
    """The whole page."""
    peaks = [(each.method, each.figures["peak_rss_bytes"], each.figures["import_rss_bytes"]) for each in report.summary]
    bars = [
        Bar(method, int(peak.median), int(imports.median), typical_run(report.runs, method).holdout_accuracy)
        for method, peak, imports in peaks
    ]
    return render(
        "profile.html",
        title=f"Memory profile of {report.work.model}",
        lead=headline(report),
        report=report,
        titles=_titles(report),
        peaks=partial(bar_chart, bars, usable_memory()),
        accuracy=any(bar.accuracy is not None for bar in bars),
        limits=_limits(report),
        figures=figures(report),
        overlay=overlay(method_curves(report)),
        phases=_phases(report),
        runs=_runs(report),
        health=_health(report),
        work=work_lines(report),
        machine=machine_lines(report.machine),
    )


def usable_memory() -> list[tuple[str, int]]:
    """What boards leave to a program: names and bytes."""
    usable = [(title, load_profile(name).usable_memory.bytes) for name, title in _BOARDS.items()]
    return [(f"{title}: {format_bytes(size)}", size) for title, size in usable]


def figures(report: Report) -> dict[str, Any]:
    """All figures, a method a row; those that no method has are named once."""
    known = {name for each in report.summary for name in each.figures}
    tables = {}
    for title, names in FIGURE_TABLES.items():
        shown = [column for column in COLUMNS if column[0] in names.split() and column[0] in known]
        rows = [
            [each.method, *(with_note(*figure(each, name, show)) for name, _, show in shown)] for each in report.summary
        ]
        if shown:
            tables[title] = Table([Column("method"), *columns("measured", *(name for _, name, _ in shown))], rows)
    return {
        "tables": list(tables.items()),
        "missing": [title for name, title, _ in COLUMNS if name not in known],
        "note": report.cgroup_note,
        "runs": max((each.runs for each in report.summary), default=0),
    }


def method_curves(report: Report) -> list[Curve]:
    """The memory of each method over time, of the run with the median peak."""
    curves = []
    for colour, each in enumerate(report.summary):
        run = typical_run(report.runs, each.method)
        points = [(seconds, rss) for seconds, rss, _ in run.timeline]
        phases = [(phase.name, phase.start_seconds) for phase in run.phases]
        curves.append(Curve(run.method, colour, points, phases, run.wall_seconds))
    return curves


def overlay(curves: list[Curve]) -> dict[str, Any]:
    """All methods over the same seconds."""
    legend = [(curve.colour, curve.label) for curve in curves]
    return {"legend": legend, "dotted": len(curves) <= FEW_CURVES, "draw": partial(overlay_chart, curves)}


def _limits(report: Report) -> Table:
    """The smallest limits found, with every trial."""
    rows = []
    for each in report.limits:
        smallest = each.smallest_bytes
        found = each.reason or "none" if smallest is None else format_bytes(smallest)
        tried = ", ".join(f"{format_bytes(t.limit_bytes)} {'yes' if t.completed else 'no'}" for t in each.trials)
        rows.append([each.method, found, tried])
    return Table([Column("method"), Column("smallest limit it completes under", "measured"), Column("tried")], rows)


def _phases(report: Report) -> Table:
    rows = [
        [
            f"{each.method}: {phase.name}",
            f"{phase.start_seconds:.2f} s",
            f"{phase.seconds:.2f} s",
            format_bytes(phase.peak_rss_bytes),
        ]
        for each in report.summary
        for phase in typical_run(report.runs, each.method).phases
    ]
    return Table([Column("phase"), *columns("measured", "starts at", "takes", "peak RSS in it")], rows)


def _runs(report: Report) -> Table:
    rows = [
        [
            f"{run.method}, run {run.run}",
            format_bytes(run.peak_rss_bytes),
            f"{run.wall_seconds:.1f} s",
            "not finite" if run.loss is None else f"{run.loss:.4f}",
        ]
        for run in report.runs
    ]
    return Table([Column("run"), *columns("measured", "peak RSS", "wall", "last loss")], rows)


def _titles(report: Report) -> list[tuple[str, str, list[str]]]:
    """Every method, what it is, and what its runs noted."""
    notes = {
        each.method: list(dict.fromkeys(note for run in report.runs if run.method == each.method for note in run.notes))
        for each in report.summary
    }
    return [(each.method, each.title, notes[each.method]) for each in report.summary]


def _health(report: Report) -> Table:
    """Clock, temperature and throttling around every run."""
    rows = []
    for run in report.runs:
        before, after = run.health_before, run.health_after
        if before is not None and after is not None:
            verdict = "yes" if slowed_down(before, after) else "no sign of it"
            rows.append([f"{run.method}, run {run.run}", *_around(before, after), verdict])
    return Table([Column("run"), *columns("measured", "clock", "temperature", "throttled meanwhile")], rows)


def _around(before: Health, after: Health) -> list[str]:
    def pair(one: float | None, other: float | None, unit: str) -> str:
        return "unavailable" if one is None or other is None else f"{one:.4g} to {other:.4g} {unit}"

    gigahertz = [None if each.clock_hz is None else each.clock_hz / 1e9 for each in (before, after)]
    clock = pair(gigahertz[0], gigahertz[1], "GHz")
    return [clock, pair(before.temperature_celsius, after.temperature_celsius, "degrees Celsius")]
