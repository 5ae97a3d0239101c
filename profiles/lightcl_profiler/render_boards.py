"""Reports of several boards, and a benchmark's accuracies, as one HTML page."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from lightcl_profiler.accuracy import AccuracyRun
from lightcl_profiler.html_parts import both_widths, key, page, pairs_table, tag
from lightcl_profiler.record import Report
from lightcl_profiler.render_comparison import accuracy_pictures, comparison
from lightcl_profiler.render_html import curve_of, figures_table
from lightcl_profiler.render_text import headline, machine_lines, work_lines
from lightcl_profiler.summary import typical_run
from lightcl_profiler.svg import overlay_chart


def render_boards(reports: Sequence[Report], accuracy: AccuracyRun | None) -> str:
    """The page.

    Args:
        reports: one a board, at least one.
        accuracy: of the methods, or None.

    Returns:
        The whole document, for one file.
    """
    sections = [("The paper's table beside ours", comparison(reports, accuracy))]
    sections += accuracy_pictures(reports, accuracy) if accuracy is not None else []
    for report in reports:
        name = escape(report.machine.board or report.machine.cpu_model)
        sections.append((f"Memory over time, {name}", _overlay(report)))
        sections.append((f"All figures, {name}", figures_table(report)))
        machine = pairs_table([*machine_lines(report.machine), *work_lines(report), ("made", report.created)])
        sections.append((f"The machine and the command, {name}", f"{machine}<pre>{escape(report.command)}</pre>"))
    if accuracy is not None and accuracy.command:
        sections.append(("The command of the accuracies", f"<pre>{escape(accuracy.command)}</pre>"))
    lead = " ".join(headline(report) for report in reports)
    return page(f"Continual learning with {reports[0].work.model}", lead, "", sections)


def _overlay(report: Report) -> str:
    curves = [curve_of(typical_run(report.runs, each.method), i) for i, each in enumerate(report.summary)]
    legend = "".join(f'<span class="item">{key(curve.colour, curve.label)}</span>' for curve in curves)
    title = "Resident memory of the methods over time"
    drawn = both_widths(lambda width: overlay_chart(curves, width, title))
    return f'<p class="legend">{legend}</p>{drawn}<p class="soft">RSS, sampled {tag("measured")}</p>'
