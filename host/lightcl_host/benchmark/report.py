"""From the records of all runs to one document, and that as text."""

from statistics import fmean, pstdev
from typing import Any

from lightcl_edge.console.text import format_bytes, table

FIGURES = ("class_incremental", "task_incremental", "forgetting", "backward_transfer", "forward_transfer")
#: What probabilities and novelty scores are worth.
CERTAINTY = ("expected_calibration_error", "error_auroc", "unknown_auroc")
#: More classes than this are not printed.
_MOST_CLASSES = 40


def summarise(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Mean and deviation over seeds, a method at a time."""
    names = list(dict.fromkeys(record["method"] for record in records))
    bound = next((name for name in ("joint", "joint_torch") if name in names), None)
    joint = [record["class_incremental"] for record in records if record["method"] == bound]
    entries = []
    for name in names:
        runs = [record for record in records if record["method"] == name]
        entry: dict[str, Any] = {"method": name, "title": runs[0]["title"], "seeds": [run["seed"] for run in runs]}
        entry |= {figure: _spread([run.get(figure) for run in runs]) for figure in (*FIGURES, *CERTAINTY)}
        entry["below_joint"] = fmean(joint) - entry["class_incremental"]["mean"] if joint else None
        entry["memory_bytes"] = max(run["memory_bytes"] for run in runs)
        entry["learning_seconds"] = _spread([run["learning_seconds"] for run in runs])
        entry["per_class"] = {key: _spread([run["per_class"][key] for run in runs]) for key in runs[0]["per_class"]}
        for matrix in ("class_incremental_matrix", "task_incremental_matrix"):
            entry[matrix] = _mean_matrix([run[matrix] for run in runs])
        entry["settings"] = runs[0]["settings"]
        entries.append(entry)
    return entries


def _spread(values: list[float | None]) -> dict[str, float] | None:
    """Mean and (population) standard deviation, which one seed does not have; None where a figure does not exist."""
    known = [value for value in values if value is not None]
    if len(known) < 2:
        return {"mean": known[0]} if known else None
    return {"mean": fmean(known), "deviation": pstdev(known)}


def _mean_matrix(matrices: list[list[list[float]]]) -> list[list[float]]:
    return [[fmean(cells) for cells in zip(*rows, strict=True)] for rows in zip(*matrices, strict=True)]


def _share(value: dict[str, float] | None) -> str:
    if value is None:
        return ""
    return f"{100 * value['mean']:.1f}" + (f" ± {100 * value['deviation']:.1f}" if "deviation" in value else "")


def render(document: dict[str, Any]) -> str:
    """The tables for a person."""
    header = ["method", "class-incr. %", "below joint", "task-incr. %", "forgetting", "backward", "forward", "buffer"]
    rows = [
        [
            entry["method"],
            _share(entry["class_incremental"]),
            "" if entry["below_joint"] is None else f"{100 * entry['below_joint']:.1f}",
            *(_share(entry[figure]) for figure in FIGURES[1:]),
            format_bytes(entry["memory_bytes"]),
        ]
        for entry in document["methods"]
    ]
    about = document["setting"]
    tested = "validation images (of the training set)" if about["validation"] else "test images"
    lines = [
        f"{about['data']}: {about['tasks']} tasks, {about['training_images']} training and {about['test_images']} "
        f"{tested}; {_over_seeds(len(about['seeds']))}, in per cent",
        "",
        table(rows, header),
        "",
        _certainty_table(document["methods"]),
        "",
        costs_table(document),
        "",
        _class_table(document["methods"]),
        "",
        *([f"left out: {', '.join(document['left_out'])}"] if document["left_out"] else []),
        f"report: {document['report']}, {document['page']}",
    ]
    return "\n".join(lines)


def _over_seeds(seeds: int) -> str:
    return f"mean ± deviation over {seeds} seeds" if seeds > 1 else "one seed"


def _certainty_table(methods: list[dict[str, Any]]) -> str:
    header = ["method", "calibration error", "own errors, AUROC", "never seen, AUROC"]
    return table([[entry["method"], *(_share(entry[figure]) for figure in CERTAINTY)] for entry in methods], header)


def _class_table(methods: list[dict[str, Any]]) -> str:
    """Accuracy of each class, where they are few enough to be read."""
    classes = list(methods[0]["per_class"])
    if len(classes) > _MOST_CLASSES:
        return f"accuracy of each of the {len(classes)} classes: in the report"
    rows = [[name, *(f"{100 * entry['per_class'][name]['mean']:.1f}" for entry in methods)] for name in classes]
    drawn = table(rows, ["class", *(entry["method"] for entry in methods)])
    return f"accuracy of each class after the last task, class-incremental, in per cent\n\n{drawn}"


def costs_table(document: dict[str, Any]) -> str:
    """Operations and memory of every method; the header says where each figure comes from."""
    from lightcl_profiler.reports.benchmark import costs, ways

    content = costs(document["methods"], lambda figure, note: f"{figure} {note}".rstrip())
    lines = [table(content.rows, [column.label for column in content.columns])]
    if document["not_calculated"]:
        lines.append(f"not calculated: {document['not_calculated']}")
    lines += [f"{', '.join(names)}: {way}" for way, names in ways(document["methods"])]
    return "\n".join(lines)
