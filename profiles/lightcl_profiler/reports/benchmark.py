"""A benchmark as one HTML file that refers to nothing outside itself: accuracies, operations, memory, the machine."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import Any

from lightcl_edge.console.text import format_bytes
from lightcl_edge.files.records import read_record
from lightcl_profiler.reports.accuracy_charts import Series, memory_chart, tasks_chart
from lightcl_profiler.reports.charts import Curve, overlay_chart
from lightcl_profiler.reports.parts import Column, both_widths, cards_table, columns, key, page, pairs_table, tag
from lightcl_profiler.reports.text import machine_lines

#: More classes than this are in ``benchmark.json`` alone.
_MOST_CLASSES = 20
Entry = Mapping[str, Any]
_METHOD = "method"


def render_benchmark(document: Mapping[str, Any]) -> str:
    """The page.

    Args:
        document: what ``lightcl-host benchmark`` writes to ``benchmark.json``.

    Returns:
        The whole document, for one file.
    """
    methods, setting = document["methods"], document["setting"]
    sections = [
        ("Accuracy", _accuracies(methods) + _paper_note(document)),
        ("Memory and operations", _costs(methods, document)),
        ("Accuracy after each task", _over_tasks(methods)),
        ("Accuracy against peak memory", _against_memory(methods)),
        ("Memory over time", _timelines(methods)),
        ("Accuracy of each task after each task", _matrices(methods)),
        ("Accuracy of each class after the last task", _classes(methods)),
        ("The methods", _titles(methods)),
        ("What every method was given", pairs_table(_setting_lines(setting))),
        ("The machine", _machine(document)),
        ("The command", f"<pre>{escape(document['command'])}</pre>" if document.get("command") else ""),
    ]
    below = f'<p class="soft">{escape(document["created"])}</p>' if document.get("created") else ""
    name = document.get("published_data") or f"{setting['tasks']} tasks of {setting['data']}"
    return page(f"{name} with {setting['model']}", _lead(methods, setting), below, sections)


def _lead(methods: Sequence[Entry], setting: Entry) -> str:
    """The best of those that learn task after task, and the best of those that see all at once."""
    learners = [each for each in methods if len(each["class_incremental_matrix"]) > 1]
    at_once = [each for each in methods if len(each["class_incremental_matrix"]) == 1]
    found = []
    if learners:
        best = max(learners, key=_accuracy)
        found.append(f"Of the methods that learn task after task {best[_METHOD]} is best: it {_right(best, setting)}")
    if at_once:
        best = max(at_once, key=_accuracy)
        said = f"for {_accuracy(best):.1f} %" if learners else _right(best, setting)
        found.append(f"{best[_METHOD]}, given all at once, {said}")
    images = f"{setting['tasks']} tasks, {setting['training_images']} training images."
    return f"{images} {'; '.join(found)}."


def _accuracy(entry: Entry) -> float:
    """Over all classes after the last task, in per cent."""
    return 100 * float(entry["class_incremental"]["mean"])


def _right(entry: Entry, setting: Entry) -> str:
    images = f"{_accuracy(entry):.1f} % of {setting['test_images']} test images"
    return f"names the right one of {len(entry['per_class'])} classes for {images}"


def _share(value: Mapping[str, float] | None) -> str:
    """Mean and deviation over seeds."""
    if value is None:
        return "none"
    spread = f'<span class="range">± {100 * value["deviation"]:.1f}</span>' if value.get("deviation") else ""
    return f"{100 * value['mean']:.1f} %{spread}"


def _theirs(entry: Entry, name: str, show: Callable[[float], str]) -> str:
    value = (entry.get("published") or {}).get(name)
    return "none" if value is None else show(value)


def _percent(value: float) -> str:
    return f"{value:g} %"


def _accuracies(methods: Sequence[Entry]) -> str:
    header: list[str | Column] = ["method"]
    for ours, theirs in (("all classes", "the paper's"), ("task known", "the paper's, task known")):
        header += [Column(ours, "measured"), Column(theirs, "published")]
    header += columns("measured", "forgetting", "backward transfer", "forward transfer")
    rows = [
        [
            escape(each[_METHOD]),
            _share(each["class_incremental"]),
            _theirs(each, "class_incremental_percent", _percent),
            _share(each["task_incremental"]),
            _theirs(each, "task_incremental_percent", _percent),
            *(_share(each.get(name)) for name in ("forgetting", "backward_transfer", "forward_transfer")),
        ]
        for each in methods
    ]
    return cards_table(header, rows)


def _paper_note(document: Mapping[str, Any]) -> str:
    seeds = len(document["setting"]["seeds"])
    ours = f"Ours: mean and standard deviation over {seeds} seeds. " if seeds > 1 else "Ours: one seed. "
    theirs = ""
    if document.get("published_data"):
        theirs = (
            f"The paper's figures are of {document['published_data']} with ResNet-18, batch 32, a buffer of 15 and all "
            "training images over 50 epochs (100 for TinyImageNet), not of the budget below. "
        )
    return f'<p class="soft">{ours}{theirs}</p>'


def _bytes(value: int | None) -> str:
    return "none" if value is None else format_bytes(value)


def _costs(methods: Sequence[Entry], document: Mapping[str, Any]) -> str:
    header: list[str | Column] = ["method", Column("peak of the process", "measured")]
    header += [Column("its formula", "calculated"), Column("the paper's memory", "published")]
    header += [Column("operations", "calculated"), Column("the paper's operations", "published")]
    rows = [
        [
            escape(each[_METHOD]),
            "not measured" if each.get("measured_peak_bytes") is None else _peak(each),
            _bytes(each.get("calculated_memory_bytes")),
            _theirs(each, "memory_mib", lambda value: f"{value:g} MiB"),
            _operations(each.get("calculated_operations")),
            _theirs(each, "peta_operations", lambda value: _power(value * 1e15)),
        ]
        for each in methods
    ]
    notes = [
        "Formula: the paper's, as found from its figures, applied to the network, batch and buffer here; it counts "
        "weights and activations and no libraries. Operations: two a multiply-add, over all images and epochs. The "
        "paper's own memory and operations are calculated too. None: the paper has no such figure of the method, or "
        "its formula none."
    ]
    if document.get("not_calculated"):
        notes.append(f"Not calculated: {document['not_calculated']}.")
    ways: dict[str, list[str]] = {}
    for each in methods:
        ways.setdefault(str(each.get("measured_by", "not measured")), []).append(str(each[_METHOD]))
    notes += [f"{', '.join(names)}: {way}." for way, names in ways.items()]
    return cards_table(header, rows) + "".join(f'<p class="soft">{escape(note)}</p>' for note in notes)


def _peak(entry: Entry) -> str:
    """Of the process, and of CUDA's allocator beside it where there is one."""
    cuda = entry.get("cuda_reserved_peak_bytes")
    beside = "" if cuda is None else f'<span class="range">and {format_bytes(cuda)} reserved on CUDA</span>'
    return _bytes(entry["measured_peak_bytes"]) + beside


def _power(value: float) -> str:
    digits, _, exponent = f"{value:.2e}".partition("e")
    return f"{digits} &times; 10<sup>{int(exponent)}</sup>"


def _operations(value: float | None) -> str:
    return "none" if value is None else _power(value)


def _series(methods: Sequence[Entry]) -> list[Series]:
    found = []
    for colour, each in enumerate(methods):
        matrix = each["class_incremental_matrix"]
        seen = [sum(row[: i + 1]) / (i + 1) for i, row in enumerate(matrix)] if len(matrix) > 1 else []
        shares = seen or [float(each["class_incremental"]["mean"])]
        found.append(Series(str(each[_METHOD]), colour, shares, int(each.get("measured_peak_bytes") or 0)))
    return found


def _legend(methods: Sequence[Entry]) -> str:
    items = "".join(f'<span class="item">{key(i, str(each[_METHOD]))}</span>' for i, each in enumerate(methods))
    return f'<p class="legend">{items}</p>'


def _over_tasks(methods: Sequence[Entry]) -> str:
    series = _series(methods)
    title = "Class-incremental accuracy over the classes seen so far, after each task"
    note = "Over the classes seen so far; a method given all tasks at once is a dot."
    note = f'<p class="soft">{note} {tag("measured")}</p>'
    return _legend(methods) + both_widths(lambda width: tasks_chart(series, width, title)) + note


def _against_memory(methods: Sequence[Entry]) -> str:
    series = [each for each in _series(methods) if each.peak_bytes]
    if not series:
        return ""
    note = f'<p class="soft">Up and to the left is better. {tag("measured")}</p>'
    title = "Class-incremental accuracy after the last task against peak memory"
    return both_widths(lambda width: memory_chart(series, width, title)) + note


def _timelines(methods: Sequence[Entry]) -> str:
    """Memory of the run with the highest peak of each method."""
    curves = []
    for colour, each in enumerate(methods):
        points = [(float(seconds), int(rss)) for seconds, rss in each.get("timeline") or []]
        if points:
            curves.append(Curve(str(each[_METHOD]), colour, points, [], points[-1][0]))
    if not curves:
        return ""
    drawn = both_widths(lambda width: overlay_chart(curves, width, "Resident memory of the methods over time"))
    legend = _legend(methods)
    return f'{legend}{drawn}<p class="soft">RSS, sampled, of the run with the highest peak. {tag("measured")}</p>'


def _matrices(methods: Sequence[Entry]) -> str:
    """Rows: after which task; columns: of which task."""
    parts = []
    for each in methods:
        tables = []
        for name, title in (("class_incremental_matrix", "all classes"), ("task_incremental_matrix", "task known")):
            matrix: list[list[float]] = each[name]
            head = "".join(f"<th>{column + 1}</th>" for column in range(len(matrix[0])))
            rows = [
                f"<tr><th>{'all' if len(matrix) == 1 else i + 1}</th>"
                + "".join(f'<td class="figure">{100 * value:.1f}</td>' for value in row)
                + "</tr>"
                for i, row in enumerate(matrix)
            ]
            tables.append(
                f'<p class="soft">{title}, %</p><div class="scroll"><table class="matrix">'
                f"<thead><tr><th>after</th>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
            )
        parts.append(f"<details><summary>{escape(each[_METHOD])}</summary>{''.join(tables)}</details>")
    return f'<p class="soft">A row: after which task; a column: of which task. {tag("measured")}</p>{"".join(parts)}'


def _classes(methods: Sequence[Entry]) -> str:
    names = list(methods[0]["per_class"])
    if len(names) > _MOST_CLASSES:
        return f'<p class="soft">{len(names)} classes: in benchmark.json.</p>'
    rows = [
        [escape(each[_METHOD]), *(f"{100 * each['per_class'][name]['mean']:.0f}" for name in names)] for each in methods
    ]
    drawn = cards_table(["method", *names], rows)
    note = f'<p class="soft">In per cent, every class seen. {tag("measured")}</p>'
    return f"<details><summary>{len(names)} classes</summary>{drawn}{note}</details>"


def _titles(methods: Sequence[Entry]) -> str:
    lines = []
    for each in methods:
        settings = ", ".join(f"{name} {value}" for name, value in each["settings"].items() if value is not None)
        lines.append(f"<li><b>{escape(each[_METHOD])}</b>: {escape(str(each['title']))} ({escape(settings)})</li>")
    return f"<ul>{''.join(lines)}</ul>"


def _setting_lines(setting: Entry) -> list[tuple[str, str]]:
    def said(value: object) -> str:
        if isinstance(value, bool):
            return "yes" if value else "no"
        return ", ".join(map(str, value)) if isinstance(value, list) else str(value)

    return [(name.replace("_", " "), said(value)) for name, value in setting.items() if value is not None]


def _machine(document: Mapping[str, Any]) -> str:
    from lightcl_edge.machine.description import Machine

    if not document.get("machine"):
        return ""
    return pairs_table(machine_lines(read_record(Machine, document["machine"], "machine")))
