"""What strategies in closed form share: the head's inner activations, and rows written into its classifier."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from lightcl_edge.bundle.graph_names import BIAS, WEIGHT
from lightcl_edge.bundle.manifest import HeadInfo
from lightcl_edge.errors import StateError
from lightcl_edge.files.tensors import FloatArray, IntArray, Parameters
from lightcl_edge.learning.engines.contract import Engine
from lightcl_edge.learning.strategies.contract import Arrays, Task
from lightcl_edge.learning.strategies.statistics import ClassStatistics

#: Samples that pass the head at once.
_BATCH = 16


def penultimate_batches(
    engine: Engine, read: Callable[[IntArray], FloatArray], rows: IntArray
) -> Iterator[tuple[slice, FloatArray]]:
    """The classifier's inputs under the engine's present head, some samples at a time.

    Args:
        engine: holds the head.
        read: gives float features at positions.
        rows: positions.

    Yields:
        Which of ``rows``, and their activations, shape ``(k, penultimate_size)``.
    """
    for start in range(0, len(rows), _BATCH):
        part = slice(start, min(start + _BATCH, len(rows)))
        yield part, engine.activations(read(rows[part]), ["penultimate"])["penultimate"]


def classifier_rows(engine: Engine) -> dict[str, FloatArray]:
    """A copy of the classifier: weight, then bias."""
    views = engine.views()
    return {name: np.array(views[name]) for name in (WEIGHT, BIAS)}


def write_rows(engine: Engine, rows: Sequence[int] | IntArray, weights: FloatArray, biases: FloatArray) -> None:
    """Replace rows of the classifier; everything else stays.

    Args:
        engine: holds the head.
        rows: which.
        weights: shape ``(len(rows), d)``.
        biases: shape ``(len(rows),)``.
    """
    classifier = classifier_rows(engine)
    classifier[WEIGHT][rows], classifier[BIAS][rows] = weights, biases
    engine.load(ChainMap(classifier, dict(engine.views())))


def load_body(engine: Engine, exported: Parameters) -> None:
    """Everything below the classifier as the bundle brought it; the classifier stays.

    Args:
        engine: holds the head.
        exported: all parameters of the bundle; none leave the engine as it is.
    """
    if exported:
        engine.load(ChainMap(classifier_rows(engine), exported))  # type: ignore[arg-type]  # only read from


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
