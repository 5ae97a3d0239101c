"""What to call the profiles on one page: the board, and the folder where several are of one kind of board."""

from collections.abc import Callable, Sequence
from pathlib import Path

from lightcl_profiler.records.record import Report, Work


def board(report: Report) -> str:
    """The machine of a profile, as its users call it."""
    return report.machine.board or report.machine.cpu_model


def board_names(reports: Sequence[Report], paths: Sequence[Path]) -> list[str]:
    """A name for each profile: the board, and as much of the path as tells two of the same board apart."""
    boards = [board(report) for report in reports]
    names = list(boards)
    for each in {name for name in boards if boards.count(name) > 1}:
        rows = [row for row, name in enumerate(boards) if name == each]
        for row, place in zip(rows, _places([paths[row] for row in rows]), strict=True):
            names[row] = f"{each}, {place}"
    return names


def _places(paths: Sequence[Path]) -> list[str]:
    """The ends of paths, as short as tells them apart; numbered where one is given twice."""
    whole = [_folder(path.resolve()) for path in paths]
    for length in range(1, max(len(path.parts) for path in whole) + 1):
        ends = ["/".join(path.parts[-length:]) for path in whole]
        if len(set(ends)) == len(ends):
            return ends
    return [f"{path.name} ({number})" for number, path in enumerate(whole, 1)]


def _folder(path: Path) -> Path:
    return path.parent if path.name == "report.json" else path.with_suffix("") if path.is_file() else path


_ASPECTS: dict[str, Callable[[Work], object]] = {
    "model": lambda work: work.model,
    "cut": lambda work: work.cut,
    "trunk": lambda work: work.trunk_dtype,
    "image size": lambda work: f"{work.image_side} pixels" if work.image_side else "not recorded",
    "images": lambda work: work.images,
    "classes": lambda work: sum(len(names) for names in work.tasks),
    "tasks": lambda work: len(work.tasks),
    "epochs": lambda work: work.epochs,
    "batch": lambda work: work.batch_size,
    "buffer": lambda work: "not recorded" if work.buffer_samples is None else work.buffer_samples,
}


def work_differences(reports: Sequence[Report], names: Sequence[str]) -> list[str]:
    """What was not the same for all."""
    lines = []
    for aspect, of in _ASPECTS.items():
        values = [str(of(report.work)) for report in reports]
        if len(set(values)) > 1:
            each = "; ".join(f"{value} ({name})" for name, value in zip(names, values, strict=True))
            lines.append(f"{aspect}: {each}")
    return lines
