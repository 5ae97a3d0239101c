"""A benchmark as one HTML page: accuracies, operations, memory, the machine."""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from lightcl_edge.console.text import format_bytes
from lightcl_edge.files.records import read_record
from lightcl_edge.machine.description import Machine
from lightcl_profiler.records.accuracy import after_each_task
from lightcl_profiler.reports.charts import Curve, Series, memory_chart, overlay_chart, tasks_chart
from lightcl_profiler.reports.page import Column, Table, columns, render, with_note, without_empty
from lightcl_profiler.reports.text import machine_lines

#: More classes than this are in ``benchmark.json`` alone.
_MOST_CLASSES = 20
_FIGURES = (
    "forgetting",
    "backward_transfer",
    "forward_transfer",
    "expected_calibration_error",
    "error_auroc",
    "unknown_auroc",
)
_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
Entry = Mapping[str, Any]


def render_benchmark(document: Mapping[str, Any]) -> str:
    """The page."""
    methods, setting = document["methods"], document["setting"]
    series, curves, machine = _series(methods), _curves(methods), document.get("machine")
    with_memory = [each for each in series if each.peak_bytes]
    name = document.get("published_data") or f"{setting['tasks']} tasks of {setting['data']}"
    return render(
        "benchmark.html",
        title=f"{name} with {setting['model']}",
        lead=_lead(methods, setting),
        seeds=len(setting["seeds"]),
        accuracies=_accuracies(methods, _budget(document)),
        costs=costs(methods, with_note),
        measured_by=ways(methods),
        legend=[(each.colour, each.label) for each in series],
        over_tasks=partial(tasks_chart, series),
        against_memory=partial(memory_chart, with_memory) if with_memory else None,
        over_time=partial(overlay_chart, curves) if curves else None,
        matrices=[
            (each["method"], each["class_incremental_matrix"], each["task_incremental_matrix"]) for each in methods
        ],
        classes=_classes(methods),
        class_count=len(methods[0]["per_class"]),
        titles=[(each["method"], each["title"], _known(each["settings"])) for each in methods],
        setting=_setting_lines(setting),
        machine=machine_lines(read_record(Machine, machine, "machine")) if machine else None,
        published_data=document.get("published_data"),
        left_out=document.get("left_out") or {},
        not_calculated=document.get("not_calculated"),
        command=document.get("command"),
        created=document.get("created"),
    )


def _lead(methods: Sequence[Entry], setting: Entry) -> str:
    """The best of those that learn task after task, unless by chance, and of those that see all at once."""
    learners = [each for each in methods if len(each["class_incremental_matrix"]) > 1]
    at_once = [each for each in methods if len(each["class_incremental_matrix"]) == 1]
    found = []
    if learners:
        first, *others = sorted(learners, key=_accuracy, reverse=True)
        near = [each for each in others if _accuracy(first) - _accuracy(each) <= _chance(first, each, setting)]
        if near:
            names = ", ".join(str(each["method"]) for each in near)
            found.append(
                f"Of the methods that learn task after task {first['method']} {_right(first, setting)}; "
                f"no difference from {names} is larger than chance"
            )
        else:
            found.append(
                f"Of the methods that learn task after task {first['method']} is best: it {_right(first, setting)}"
            )
    if at_once:
        best = max(at_once, key=_accuracy)
        said = f"for {_accuracy(best):.1f} %" if learners else _right(best, setting)
        found.append(f"{best['method']}, given all at once, {said}")
    images = f"{setting['tasks']} tasks, {setting['training_images']} training images."
    return f"{images} {'; '.join(found)}."


def _chance(one: Entry, other: Entry, setting: Entry) -> float:
    """Two standard errors of a difference of accuracies, in per cent: of the test images, or of seeds if larger."""
    shares = [_accuracy(each) / 100 for each in (one, other)]
    seeds = max(len(setting["seeds"]), 1)
    images = sum(share * (1 - share) for share in shares) / max(int(setting["test_images"]), 1)
    drawn = sum(float(each["class_incremental"].get("deviation") or 0.0) ** 2 for each in (one, other)) / seeds
    return 200 * math.sqrt(max(images, drawn))


def _accuracy(entry: Entry) -> float:
    """Over all classes after the last task, in per cent."""
    return 100 * float(entry["class_incremental"]["mean"])


def _right(entry: Entry, setting: Entry) -> str:
    images = f"{_accuracy(entry):.1f} % of {setting['test_images']} test images"
    return f"names the right one of {len(entry['per_class'])} classes for {images}"


def _share(value: Mapping[str, float] | None) -> str:
    """Mean and deviation over seeds."""
    if value is None:
        return ""
    spread = f"± {100 * value['deviation']:.1f}" if value.get("deviation") else ""
    return with_note(f"{100 * value['mean']:.1f} %", spread)


def _shown(value: Any, show: Callable[[Any], str]) -> str:
    return "" if value is None else show(value)


def _theirs(entry: Entry, name: str, show: Callable[[float], str], budget: str) -> str:
    """The paper's figure, with what it was measured on where that is not what was measured here."""
    found = _shown((entry.get("published") or {}).get(name), show)
    return with_note(found, budget) if found else ""


def _budget(document: Mapping[str, Any]) -> str:
    """What the paper's accuracies were reached with."""
    epochs = 100 if "TinyImageNet" in str(document.get("published_data")) else 50
    return f"all images, {epochs} epochs"


def _accuracies(methods: Sequence[Entry], budget: str) -> Table:
    header = [Column("method")]
    for ours, theirs in (("all classes", "the paper's"), ("task known", "the paper's, task known")):
        header += [Column(ours, "measured"), Column(theirs, "published")]
    header += columns("measured", "forgetting", "backward transfer", "forward transfer")
    header += columns("measured", "calibration error", "own errors, AUROC", "never seen, AUROC")
    rows = [
        [
            each["method"],
            _share(each["class_incremental"]),
            _theirs(each, "class_incremental_percent", "{:g} %".format, budget),
            _share(each["task_incremental"]),
            _theirs(each, "task_incremental_percent", "{:g} %".format, budget),
            *(_share(each.get(name)) for name in _FIGURES),
        ]
        for each in methods
    ]
    return without_empty(Table(header, rows))


def costs(methods: Sequence[Entry], show_note: Callable[[str, str], str]) -> Table:
    """Operations and memory of every method; the columns say where each figure comes from."""
    header = [
        Column("method"),
        Column("peak of the process", "measured"),
        Column("its formula", "calculated"),
        Column("the paper's memory, batch 32", "published"),
        Column("operations", "calculated"),
        Column("the paper's operations, all images and epochs", "published"),
    ]
    rows = [
        [
            each["method"],
            _peak(each, show_note),
            _shown(each.get("calculated_memory_bytes"), format_bytes),
            _shown((each.get("published") or {}).get("memory_mib"), "{:g} MiB".format),
            _shown(each.get("calculated_operations"), _power),
            _shown((each.get("published") or {}).get("peta_operations"), lambda value: _power(value * 1e15)),
        ]
        for each in methods
    ]
    return without_empty(Table(header, rows))


def _peak(entry: Entry, show_note: Callable[[str, str], str]) -> str:
    """Of the process, and of CUDA's allocator beside it where there is one."""
    cuda, peak = entry.get("cuda_reserved_peak_bytes"), entry.get("measured_peak_bytes")
    beside = "" if cuda is None else f"and {format_bytes(cuda)} reserved on CUDA"
    return "" if peak is None else show_note(format_bytes(peak), beside)


def _power(value: float) -> str:
    digits, _, exponent = f"{value:.2e}".partition("e")
    return f"{digits} × 10{str(int(exponent)).translate(_SUPERSCRIPT)}"  # noqa: RUF001 - times


def ways(methods: Sequence[Entry]) -> list[tuple[str, list[str]]]:
    """How peaks were measured, and of which methods."""
    found: dict[str, list[str]] = {}
    for each in methods:
        found.setdefault(str(each.get("measured_by", "not measured")), []).append(str(each["method"]))
    return list(found.items())


def _series(methods: Sequence[Entry]) -> list[Series]:
    found = []
    for colour, each in enumerate(methods):
        shares = after_each_task(each["class_incremental_matrix"], float(each["class_incremental"]["mean"]))
        found.append(Series(str(each["method"]), colour, shares, int(each.get("measured_peak_bytes") or 0)))
    return found


def _curves(methods: Sequence[Entry]) -> list[Curve]:
    """Memory of the run with the highest peak of each method."""
    curves = []
    for colour, each in enumerate(methods):
        points = [(float(seconds), int(rss)) for seconds, rss in each.get("timeline") or []]
        if points:
            curves.append(Curve(str(each["method"]), colour, points, [], points[-1][0]))
    return curves


def _classes(methods: Sequence[Entry]) -> Table | None:
    names = list(methods[0]["per_class"])
    if len(names) > _MOST_CLASSES:
        return None
    rows = [[each["method"], *(f"{100 * each['per_class'][name]['mean']:.0f}" for name in names)] for each in methods]
    return Table(columns("", "method", *names), rows)


def _known(settings: Entry) -> list[str]:
    return [f"{name} {value}" for name, value in settings.items() if value is not None]


def _setting_lines(setting: Entry) -> list[tuple[str, str]]:
    def said(value: object) -> str:
        if isinstance(value, bool):
            return "yes" if value else "no"
        return ", ".join(map(str, value)) if isinstance(value, list) else str(value)

    return [(name.replace("_", " "), said(value)) for name, value in setting.items() if value is not None]
