"""The report as one HTML file that refers to nothing outside itself."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from html import escape

from lightcl_edge.console.text import format_bytes
from lightcl_edge.machine.health import Health, slowed_down
from lightcl_profiler.records.record import MethodSummary, Phase, Report, Run
from lightcl_profiler.records.summary import typical_run
from lightcl_profiler.reports.charts import FEW_CURVES, Bar, Curve, bar_chart, overlay_chart, phase_chart
from lightcl_profiler.reports.comparison import comparison
from lightcl_profiler.reports.parts import Column, both_widths, cards_table, columns, key, page, pairs_table, tag
from lightcl_profiler.reports.text import COLUMNS, figure, headline, machine_lines, work_lines

_TAG = tag("measured")
#: Tables of all figures: what is above each, and what is in it.
_TABLES = {
    "Memory of the process": "peak_rss_bytes import_rss_bytes pss_peak_bytes anonymous_bytes file_bytes swap_bytes",
    "Time and disk": "seconds_per_image wall_seconds cpu_seconds bytes_written",
    "Memory as the machine counts it": "cgroup_peak_bytes memavailable_drop_bytes nvmap_peak_bytes "
    "cuda_allocated_peak_bytes cuda_reserved_peak_bytes",
}
_DOTTED = '<span class="soft">dotted: a phase starts</span>'
_HOW = [
    "Each method runs in a process of its own, started fresh: no memory is inherited. All get the same "
    "images, batch size, number of threads, seed and epochs; runs of the methods take turns. lightcl learns each "
    "task in a process of its own, as lightcl-edge train does on the device; its peak is that of the largest.",
    "Peak RSS is the kernel's own high-water mark (VmHWM) of the whole process, libraries included; the "
    "counter is reset at each phase, so that phases have peaks of their own. Imports alone is the same "
    "counter before any data.",
    "PSS (shared pages by their share), anonymous, file-backed and swap are sampled from outside about "
    "every 20 ms (PSS every 160 ms); anonymous and file-backed are those at the sample with the highest RSS.",
    "Per image is the wall time after the imports divided by the number of training images, all epochs "
    "included. lightcl keeps a share of the images out of training for its gate; sgd trains on all of them.",
    "With four classes or more the data is learned as two tasks, one after the other, for LightCL holds its "
    "patterns from the second task on.",
]


def _peaks(report: Report) -> str:
    bars = [
        Bar(
            each.method,
            int(each.figures["peak_rss_bytes"].median),
            int(each.figures["import_rss_bytes"].median),
        )
        for each in report.summary
    ]
    title = "Peak resident memory of each method, with the share of its imports"
    note = f'<p class="soft">The faded part is what imports alone need, before any data. {_TAG}</p>'
    return both_widths(lambda width: bar_chart(bars, width, title)) + note


def _titles(report: Report) -> str:
    lines = "".join(f"<li><b>{escape(each.method)}</b>: {escape(each.title)}</li>" for each in report.summary)
    return f"<ul>{lines}</ul>"


def figures_table(report: Report) -> str:
    """All figures, a method a row, in tables that fit the page; figures that nobody tells are named once.

    Args:
        report: what was measured.

    Returns:
        HTML.
    """
    known = {name for each in report.summary for name in each.figures}
    tables = []
    for title, names in _TABLES.items():
        shown = [column for column in COLUMNS if column[0] in names.split() and column[0] in known]
        rows = [[escape(each.method), *(_cell(each, name, show) for name, _, show in shown)] for each in report.summary]
        head: list[str | Column] = ["method", *columns("measured", *(name for _, name, _ in shown))]
        tables.append(f"<h3>{title}</h3>{cards_table(head, rows)}" if shown else "")
    missing = [title for name, title, _ in COLUMNS if name not in known]
    note = f"{report.cgroup_note}. " if report.cgroup_note else ""
    unavailable = f'<p class="soft">Unavailable on this machine: {escape(", ".join(missing))}. {escape(note)}</p>'
    most = max((each.runs for each in report.summary), default=0)
    runs = f'<p class="soft">Medians and spread; runs of each method: {most}.</p>'
    return runs + "".join(tables) + (unavailable if missing else "")


def _cell(summary: MethodSummary, name: str, show: Callable[[float], str]) -> str:
    median, between = figure(summary, name, show)
    return median + (f'<span class="range">{between}</span>' if between else "")


def _limits(report: Report) -> str:
    """The smallest limits found, with every trial."""
    rows = []
    for each in report.limits:
        smallest = each.smallest_bytes
        found = escape(each.reason or "none") if smallest is None else format_bytes(smallest)
        tried = ", ".join(f"{format_bytes(t.limit_bytes)} {'yes' if t.completed else 'no'}" for t in each.trials)
        rows.append([escape(each.method), found, escape(tried)])
    head: list[str | Column] = ["method", *columns("measured", "smallest limit it completes under"), "tried"]
    return cards_table(head, rows) if rows else ""


def _health(report: Report) -> str:
    """Clock, temperature and throttling around every run."""
    rows = []
    for run in report.runs:
        before, after = run.health_before, run.health_after
        if before is not None and after is not None:
            verdict = "yes" if slowed_down(before, after) else "no sign of it"
            rows.append([f"{escape(run.method)}, run {run.run}", *_around(before, after), verdict])
    head: list[str | Column] = ["run", *columns("measured", "clock", "temperature", "throttled meanwhile")]
    return cards_table(head, rows) if rows else ""


def _around(before: Health, after: Health) -> list[str]:
    def pair(one: float | None, other: float | None, unit: str) -> str:
        return "unavailable" if one is None or other is None else f"{one:.4g} to {other:.4g} {unit}"

    gigahertz = [None if each.clock_hz is None else each.clock_hz / 1e9 for each in (before, after)]
    clock = pair(gigahertz[0], gigahertz[1], "GHz")
    return [clock, pair(before.temperature_celsius, after.temperature_celsius, "degrees Celsius")]


def curve_of(run: Run, colour: int) -> Curve:
    """A run's memory as a curve."""
    points = [(seconds, rss) for seconds, rss, _ in run.timeline]
    marks = [(phase.name, phase.start_seconds) for phase in run.phases]
    return Curve(run.method, colour, points, marks, run.wall_seconds)


def _phase_picture(curve: Curve, title: str, width: int) -> str:
    return phase_chart(curve, width, title)


def overlay(report: Report) -> tuple[str, list[Curve]]:
    """All methods over the same seconds, below their names and what dotted lines are.

    Args:
        report: what was measured.

    Returns:
        HTML, and the curves.
    """
    curves = [curve_of(typical_run(report.runs, each.method), i) for i, each in enumerate(report.summary)]
    title = "Resident memory of the methods over time"
    legend = "".join(f'<span class="item">{key(curve.colour, curve.label)}</span>' for curve in curves)
    dotted = _DOTTED if len(curves) <= FEW_CURVES else ""
    drawn = both_widths(lambda width: overlay_chart(curves, width, title))
    return f'<p class="legend">{legend}{dotted}</p>{drawn}', curves


def _timelines(report: Report) -> str:
    drawn, curves = overlay(report)
    parts = [drawn]
    for curve in curves:
        title = f"Resident memory of {curve.label} over its own time and scale, with its phases"
        parts.append(f"<h3>{key(curve.colour, curve.label)}, own time and scale</h3>")
        parts.append(both_widths(partial(_phase_picture, curve, title)))
    parts.append(f'<p class="soft">RSS, sampled; of each method the run with the median peak. {_TAG}</p>')
    return "".join(parts)


def _phase_row(method: str, phase: Phase) -> list[str]:
    return [
        f"{escape(method)}: {escape(phase.name)}",
        f"{phase.start_seconds:.2f} s",
        f"{phase.seconds:.2f} s",
        format_bytes(phase.peak_rss_bytes),
    ]


def _phases(report: Report) -> str:
    rows = [
        _phase_row(each.method, phase)
        for each in report.summary
        for phase in typical_run(report.runs, each.method).phases
    ]
    return cards_table(["phase", *columns("measured", "starts at", "takes", "peak RSS in it")], rows)


def _runs(report: Report) -> str:
    rows = [
        [
            f"{escape(run.method)}, run {run.run}",
            format_bytes(run.peak_rss_bytes),
            f"{run.wall_seconds:.1f} s",
            "not finite" if run.loss is None else f"{run.loss:.4f}",
            escape("; ".join(run.notes)) or "none",
        ]
        for run in report.runs
    ]
    return cards_table(["run", *columns("measured", "peak RSS", "wall", "last loss"), "notes"], rows)


def _failures(report: Report) -> str:
    return "".join(
        f'<p class="failure"><b>{escape(each.method)}, run {each.run}, did not complete.</b> {escape(each.message)}</p>'
        for each in report.failures
    )


def render_html(report: Report) -> str:
    """The report as a page.

    Args:
        report: what was measured.

    Returns:
        The whole document, for one file.
    """
    drawn = bool(report.summary)
    sections = [
        ("Peak memory of the whole process", _peaks(report) if drawn else ""),
        ("Beside the paper", comparison([report], None) if drawn else ""),
        ("Smallest memory limit", _limits(report)),
        ("All figures", _titles(report) + figures_table(report) if drawn else ""),
        ("Memory over time", _timelines(report) if drawn else ""),
        ("Phases", _phases(report) if drawn else ""),
        ("Runs", _runs(report) if drawn else ""),
        ("The machine while it ran", _health(report)),
        ("What every method was given", pairs_table(work_lines(report))),
        ("The machine", pairs_table(machine_lines(report.machine))),
        ("The command", f"<pre>{escape(report.command)}</pre>"),
        ("How it was measured", f"<ul>{''.join(f'<li>{escape(line)}</li>' for line in _HOW)}</ul>"),
    ]
    below = f'<p class="soft">{escape(report.created)}, {escape(report.machine.cpu_model)}</p>{_failures(report)}'
    return page(f"Memory profile of {report.work.model}", headline(report), below, sections)
