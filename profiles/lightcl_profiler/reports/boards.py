"""Reports of several boards, and a benchmark's accuracies, as one HTML page."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from lightcl_profiler.records.accuracy import AccuracyRun
from lightcl_profiler.records.comparing import board, work_differences
from lightcl_profiler.records.record import Report
from lightcl_profiler.reports.comparison import accuracy_pictures, comparison
from lightcl_profiler.reports.html import figures_table, overlay
from lightcl_profiler.reports.parts import page, pairs_table, tag
from lightcl_profiler.reports.text import headline, machine_lines, work_lines


def render_boards(reports: Sequence[Report], accuracy: AccuracyRun | None, names: Sequence[str] = ()) -> str:
    """The page.

    Args:
        reports: one a board, at least one.
        accuracy: of the methods, or None.
        names: what to call each, no two alike; the boards' own where left out.

    Returns:
        The whole document, for one file.
    """
    boards = list(names) or [board(report) for report in reports]
    sections = [("The paper's table beside ours", comparison(reports, accuracy, boards))]
    sections += accuracy_pictures(reports, accuracy, boards) if accuracy is not None else []
    for report, plain in zip(reports, boards, strict=True):
        name = escape(plain)
        sampled = f'<p class="soft">RSS, sampled {tag("measured")}</p>'
        sections.append((f"Memory over time, {name}", overlay(report)[0] + sampled))
        sections.append((f"All figures, {name}", figures_table(report)))
        machine = pairs_table([*machine_lines(report.machine), *work_lines(report), ("made", report.created)])
        sections.append((f"The machine and the command, {name}", f"{machine}<pre>{escape(report.command)}</pre>"))
    if accuracy is not None and accuracy.command:
        sections.append(("The command of the accuracies", f"<pre>{escape(accuracy.command)}</pre>"))
    found = [headline(report) for report in reports]
    if len(reports) > 1:
        found = [f"On {name}: {text}" for name, text in zip(boards, found, strict=True)]
    title = f"Continual learning with {reports[0].work.model}"
    return page(title, " ".join(found), _warning(reports, boards), sections)


def _warning(reports: Sequence[Report], boards: Sequence[str]) -> str:
    """Where the profiles are not of the same work."""
    lines = "".join(f"<li>{escape(line)}</li>" for line in work_differences(reports, boards))
    if not lines:
        return ""
    said = "The profiles are not of the same work: differences between them are not those of the boards alone."
    return f'<div class="failure"><b>{said}</b><ul>{lines}</ul></div>'
