"""The paper's table beside what was measured, and pictures of accuracy; parts of the HTML reports."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from html import escape

from lightcl_edge.console.text import format_bytes
from lightcl_profiler.paper.published import Published, published_for
from lightcl_profiler.records.accuracy import AccuracyRun
from lightcl_profiler.records.comparing import board
from lightcl_profiler.records.record import Report
from lightcl_profiler.records.summary import typical_run
from lightcl_profiler.reports.accuracy_charts import Series, memory_chart, tasks_chart
from lightcl_profiler.reports.parts import Column, both_widths, cards_table, columns, key, tag

#: The product trains without torch and counts no network: the paper's LightCL is one and the same.
_SAME_FORMULA = {"lightcl": "lightcl_torch"}


def comparison(reports: Sequence[Report], accuracy: AccuracyRun | None, names: Sequence[str] = ()) -> str:
    """A row a method: memory as published, calculated and measured on each board; accuracy likewise.

    Args:
        reports: one a board, at least one.
        accuracy: of the same methods, or None.
        names: of the boards; their own where left out.

    Returns:
        HTML.
    """
    boards = list(names) or [board(report) for report in reports]
    data, published = published_for(reports[0].work.image_side)
    methods = list(dict.fromkeys(each.method for report in reports for each in report.summary))
    formulas = _formulas(reports, boards, methods)
    header: list[str | Column] = [
        "method",
        Column("the paper's memory", "published"),
        *columns("calculated", *formulas),
    ]
    header += columns("measured", *(f"peak, {name}" for name in boards))
    for name in ("all classes", "task known") if accuracy is not None else ():
        header += [Column(f"accuracy, {name}", "measured"), Column(f"the paper's, {name}", "published")]
    body = []
    for method in methods:
        row = [escape(method), _published(published.get(method), lambda each: each.memory_mib, " MiB")]
        row += [_calculated(group, method) for group in formulas.values()]
        row += [_measured(report, method) for report in reports]
        row += [] if accuracy is None else _accuracies(accuracy, method, published.get(method))
        body.append(row)
    return _note(data, any("none" in row for row in body)) + cards_table(header, body)


def _note(data: str, lacking: bool) -> str:
    none = (
        " None: the paper has no such figure of the method; or its formula has none, or the bundle had no whole "
        "network to count (export --with-baselines)."
    )
    return (
        f'<p class="soft">The paper\'s figures are of {data}, ResNet-18, batch 32, buffer 15; its memory is calculated '
        "from weights and activations and counts no libraries. The formula is the paper's as found from its figures, "
        f"applied to the network and batch of this report.{none if lacking else ''}</p>"
    )


def _formulas(reports: Sequence[Report], boards: Sequence[str], methods: Sequence[str]) -> dict[str, Sequence[Report]]:
    """A column for all profiles where the formula gives the same for all of them, else one for each."""
    alike = all(
        len({found for report in reports if (found := _formula([report], method)) is not None}) < 2
        for method in methods
    )
    if alike:
        return {"its formula on this network": reports}
    return {f"its formula, {name}": [report] for name, report in zip(boards, reports, strict=True)}


def _published(row: Published | None, figure: Callable[[Published], float | None], unit: str) -> str:
    value = None if row is None else figure(row)
    return "none" if value is None else f"{value:g}{unit}"


def _formula(reports: Sequence[Report], method: str) -> int | None:
    same = (method, _SAME_FORMULA.get(method))
    found = [run.calculated_bytes for report in reports for run in report.runs if run.method in same]
    return next((value for value in found if value is not None), None)


def _calculated(reports: Sequence[Report], method: str) -> str:
    known = _formula(reports, method)
    return "none" if known is None else format_bytes(known)


def _measured(report: Report, method: str) -> str:
    found = next((each for each in report.summary if each.method == method), None)
    if found is None:
        failed = any(failure.method == method for failure in report.failures)
        return "did not complete" if failed else "not run"
    return format_bytes(found.figures["peak_rss_bytes"].median)


def _accuracies(accuracy: AccuracyRun, method: str, published: Published | None) -> list[str]:
    found = accuracy.methods.get(method)
    cells = []
    for ours, theirs in (
        (None if found is None else found.class_incremental, lambda each: each.class_incremental),
        (None if found is None else found.task_incremental, lambda each: each.task_incremental),
    ):
        cells.append("not run" if ours is None else f"{100 * ours:.1f} %")
        cells.append(_published(published, theirs, " %"))
    return cells


def accuracy_pictures(reports: Sequence[Report], accuracy: AccuracyRun, boards: Sequence[str]) -> list[tuple[str, str]]:
    """Accuracy after each task, and against the peak memory of each board.

    Args:
        reports: one a board.
        accuracy: of the methods.
        boards: names of the boards.

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
    for report, name_of_board in zip(reports, boards, strict=True):
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
        where = f" on {name_of_board}" if len(reports) > 1 else ""
        drawn = both_widths(partial(_scatter, points))
        sections.append((f"Accuracy against peak memory{escape(where)}", drawn))
    return sections


def _scatter(points: Sequence[Series], width: int) -> str:
    return memory_chart(points, width, "Accuracy against peak memory")
