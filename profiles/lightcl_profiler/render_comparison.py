"""The paper's table beside what was measured, and pictures of accuracy; parts of the HTML reports."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from html import escape

from lightcl_edge.console import format_bytes
from lightcl_profiler.accuracy import AccuracyRun
from lightcl_profiler.charts import Series, memory_chart, tasks_chart
from lightcl_profiler.html_parts import both_widths, cards_table, key, tag
from lightcl_profiler.paper_table import Published, published_for
from lightcl_profiler.record import Report
from lightcl_profiler.summary import typical_run

#: The product trains without torch and counts no network: the paper's LightCL is one and the same.
_SAME_FORMULA = {"lightcl": "lightcl_torch"}


def comparison(reports: Sequence[Report], accuracy: AccuracyRun | None) -> str:
    """A row a method: memory as published, calculated and measured on each board; accuracy likewise.

    Args:
        reports: one a board, at least one, of the same network.
        accuracy: of the same methods, or None.

    Returns:
        HTML.
    """
    data, rows = published_for(reports[0].work.image_side)
    boards = [_board(report) for report in reports]
    header = ["method", "the paper's memory", "its formula on this network", *(f"peak, {name}" for name in boards)]
    if accuracy is not None:
        header += [
            "accuracy, all classes",
            "the paper's, all classes",
            "accuracy, task known",
            "the paper's, task known",
        ]
    body = []
    for method in dict.fromkeys(each.method for report in reports for each in report.summary):
        published = rows.get(method)
        row = [
            escape(method),
            _published(published, lambda each: each.memory_mib, " MiB"),
            _calculated(reports, method),
        ]
        row += [_measured(report, method) for report in reports]
        if accuracy is not None:
            row += _accuracies(accuracy, method, published)
        body.append(row)
    note = (
        f'<p class="soft">The paper\'s figures are of {data}, ResNet-18, batch 32, buffer 15; its memory is calculated '
        "from weights and activations and counts no libraries. The formula is the paper's as found from its figures, "
        f"applied to the network and batch of this report. {tag('published')} {tag('calculated')} {tag('measured')}</p>"
    )
    return note + cards_table(header, body)


def _board(report: Report) -> str:
    return report.machine.board or report.machine.cpu_model


def _published(row: Published | None, figure: Callable[[Published], float | None], unit: str) -> str:
    value = None if row is None else figure(row)
    return "none" if value is None else f"{value:g}{unit}{tag('published')}"


def _calculated(reports: Sequence[Report], method: str) -> str:
    same = (method, _SAME_FORMULA.get(method))
    found = [run.calculated_bytes for report in reports for run in report.runs if run.method in same]
    known = next((value for value in found if value is not None), None)
    return "none" if known is None else format_bytes(known) + tag("calculated")


def _measured(report: Report, method: str) -> str:
    found = next((each for each in report.summary if each.method == method), None)
    if found is None:
        failed = any(failure.method == method for failure in report.failures)
        return "did not complete" if failed else "not run"
    return format_bytes(found.figures["peak_rss_bytes"].median) + tag("measured")


def _accuracies(accuracy: AccuracyRun, method: str, published: Published | None) -> list[str]:
    found = accuracy.methods.get(method)
    cells = []
    for ours, theirs in (
        (None if found is None else found.class_incremental, lambda each: each.class_incremental),
        (None if found is None else found.task_incremental, lambda each: each.task_incremental),
    ):
        cells.append("not run" if ours is None else f"{100 * ours:.1f} %{tag('measured')}")
        cells.append(_published(published, theirs, " %"))
    return cells


def accuracy_pictures(reports: Sequence[Report], accuracy: AccuracyRun) -> list[tuple[str, str]]:
    """Accuracy after each task, and against the peak memory of each board.

    Args:
        reports: one a board.
        accuracy: of the methods.

    Returns:
        Titles and HTML of sections.
    """
    names = list(dict.fromkeys(each.method for report in reports for each in report.summary))
    shown = [name for name in names if name in accuracy.methods]
    note = f'<p class="soft">{escape(accuracy.description)} {tag("measured")}</p>'
    legend = "".join(f'<span class="item">{key(names.index(name), name)}</span>' for name in shown)
    lines = [Series(name, names.index(name), accuracy.methods[name].after_each_task, 0) for name in shown]
    title = "Class-incremental accuracy over the classes seen so far, after each task"
    sections = [
        (
            "Accuracy after each task",
            f'<p class="legend">{legend}</p>{both_widths(lambda width: tasks_chart(lines, width, title))}{note}',
        )
    ]
    for report in reports:
        points = [
            Series(
                name,
                names.index(name),
                accuracy.methods[name].after_each_task,
                typical_run(report.runs, name).peak_rss_bytes,
            )
            for name in shown
            if any(run.method == name for run in report.runs)
        ]
        where = f" on {_board(report)}" if len(reports) > 1 else ""
        drawn = both_widths(partial(_scatter, points))
        sections.append((f"Accuracy against peak memory{escape(where)}", drawn))
    return sections


def _scatter(points: Sequence[Series], width: int) -> str:
    return memory_chart(points, width, "Accuracy against peak memory")
