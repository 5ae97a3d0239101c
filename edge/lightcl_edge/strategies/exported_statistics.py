"""Exact class statistics under the head as the bundle brought it.

That body never changes, so the statistics never age: whatever was trained in between, class means and covariance are
those of all samples ever seen. ``slda``, ``ncm`` and ``replay`` start every task from them.
"""

from __future__ import annotations

import numpy as np

from lightcl_edge.bundle.manifest import HeadInfo
from lightcl_edge.engines.contract import Engine
from lightcl_edge.errors import StateError
from lightcl_edge.files.tensors import IntArray
from lightcl_edge.strategies.closed_form import load_body, penultimate_batches
from lightcl_edge.strategies.contract import Arrays, Task
from lightcl_edge.strategies.statistics import ClassStatistics


def read_statistics(arrays: Arrays, head: HeadInfo) -> ClassStatistics | None:
    """What an earlier task left.

    Args:
        arrays: of :meth:`ClassStatistics.tensors`; may be empty.
        head: names and shapes of the head.

    Returns:
        The statistics, or None where there are none.

    Raises:
        StateError: when they do not fit this head.
    """
    if "means" not in arrays:
        return None
    means, size = arrays["means"], head.penultimate_size
    if means.shape[1:] != (size,) or len(means) > head.capacity:
        raise StateError(
            f"the state holds class means of shape {means.shape}, expected at most {head.capacity} of {size} "
            "numbers; it belongs to another bundle"
        )
    return ClassStatistics.from_tensors(arrays, head.capacity)


def take_in(statistics: ClassStatistics, task: Task, engine: Engine) -> IntArray:
    """Put the exported body into the engine and add the task's samples, with what only the buffer still knows.

    Args:
        statistics: changed in place.
        task: what is learned.
        engine: its head below the classifier is the exported one afterwards; the classifier stays.

    Returns:
        Rows of known classes that have statistics now, ascending.
    """
    load_body(engine, task.exported)
    _from_memory(statistics, task, engine)
    for part, values in penultimate_batches(engine, task.read, task.rows):
        statistics.add(values, task.labels[part])
    return np.flatnonzero(statistics.counts[: task.known_classes])


def _from_memory(statistics: ClassStatistics, task: Task, engine: Engine) -> None:
    """Classes that another strategy learned, and the covariance where a class was erased from it."""
    if task.memory is None or not task.remembered:
        return
    labels = task.memory.labels
    missing = statistics.counts[labels] == 0
    wanted = missing | (statistics.scattered == 0)
    rows = np.flatnonzero(wanted)
    for part, values in penultimate_batches(engine, task.memory.read, rows):
        chosen = labels[rows[part]]
        new = missing[rows[part]]
        statistics.add(values[new], chosen[new])
        statistics.add_spread(values[~new], chosen[~new])
