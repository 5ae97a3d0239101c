"""The paper's table beside what was measured."""

from collections.abc import Sequence
from typing import Any

from lightcl_edge.console.text import format_bytes
from lightcl_profiler.paper.published import Published, published_for
from lightcl_profiler.records.accuracy import Benchmark
from lightcl_profiler.records.record import Report
from lightcl_profiler.reports.page import Column, Table, columns, with_note, without_empty

#: The product trains without torch and counts no network: the paper's LightCL is one and the same.
_SAME_FORMULA = {"lightcl": "lightcl_torch"}
_NOT_PUBLISHED = Published("", None, None, None)


def methods_of(reports: Sequence[Report]) -> list[str]:
    """All methods, in the order of the reports."""
    return list(dict.fromkeys(each.method for report in reports for each in report.summary))


def comparison(reports: Sequence[Report], benchmark: Benchmark | None, boards: Sequence[str]) -> dict[str, Any]:
    """A row a method: memory as published, calculated and measured on each board; accuracy likewise."""
    data, published = published_for(reports[0].work.image_side)
    formulas = _formulas(reports, boards)
    header = [Column("method"), Column("the paper's memory", "published"), *columns("calculated", *formulas)]
    header += columns("measured", *(f"peak, {name}" for name in boards))
    for name in ("all classes", "task known") if benchmark is not None else ():
        header += [Column(f"accuracy, {name}", "measured"), Column(f"the paper's, {name}", "published")]
    rows = []
    for method in methods_of(reports):
        paper = published.get(method, _NOT_PUBLISHED)
        row = [method, with_note(_shown(paper.memory_mib, "MiB"), data if paper.memory_mib is not None else "")]
        found = [_formula(group, method) for group in formulas.values()]
        row += ["" if known is None else format_bytes(known) for known in found]
        row += [_measured(report, method) for report in reports]
        row += [] if benchmark is None else _accuracies(benchmark, method, paper, f"{data}, all images")
        rows.append(row)
    lacking = any("" in row for row in rows)
    return {"data": data, "lacking": lacking, "table": without_empty(Table(header, rows))}


def _formulas(reports: Sequence[Report], boards: Sequence[str]) -> dict[str, Sequence[Report]]:
    """A column for all profiles where the formula gives the same for all of them, else one for each."""
    for method in methods_of(reports):
        if len({_formula([report], method) for report in reports} - {None}) > 1:
            return {f"its formula, {name}": [report] for name, report in zip(boards, reports, strict=True)}
    return {"its formula on this network": reports}


def _shown(value: float | None, unit: str) -> str:
    return "" if value is None else f"{value:g} {unit}"


def _formula(reports: Sequence[Report], method: str) -> int | None:
    same = (method, _SAME_FORMULA.get(method))
    found = [run.calculated_bytes for report in reports for run in report.runs if run.method in same]
    return next((value for value in found if value is not None), None)


def _measured(report: Report, method: str) -> str:
    found = next((each for each in report.summary if each.method == method), None)
    if found is None:
        failed = any(failure.method == method for failure in report.failures)
        return "did not complete" if failed else "not run"
    return format_bytes(found.figures["peak_rss_bytes"].median)


def _accuracies(benchmark: Benchmark, method: str, paper: Published, of: str) -> list[str]:
    found = benchmark.by_method.get(method)
    ours = ["not run", "not run"]
    if found is not None:
        ours = [f"{100 * each.mean:.1f} %" for each in (found.class_incremental, found.task_incremental)]
    shown = [_shown(value, "%") for value in (paper.class_incremental, paper.task_incremental)]
    theirs = [with_note(each, of if each else "") for each in shown]
    return [ours[0], theirs[0], ours[1], theirs[1]]
