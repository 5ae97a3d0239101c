"""In what the work of several profiles differs: their figures are then not of the boards alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from lightcl_profiler.record import Report, Work

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
    """What was not the same for all.

    Args:
        reports: the profiles.
        names: of each.

    Returns:
        A line for each aspect that differs, with its value in every profile.
    """
    lines = []
    for aspect, of in _ASPECTS.items():
        values = [str(of(report.work)) for report in reports]
        if len(set(values)) > 1:
            each = "; ".join(f"{value} ({name})" for name, value in zip(names, values, strict=True))
            lines.append(f"{aspect}: {each}")
    return lines
