"""Streaming linear discriminant analysis (Hayes and Kanan 2020): no gradient, exact running statistics.

The head stays as exported below its classifier. Each class has the mean of its penultimate activations, all classes
share one covariance, and the classifier's rows follow in closed form. The order of samples and tasks has no influence.

Unlike in the paper, the covariance is the exact within-class one of all samples (theirs uses the means as they were
when a sample came), and it is shrunk by a share of its own mean variance instead of by an absolute 1e-4.
"""

from collections import ChainMap
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from lightcl_edge.bundle.manifest import HeadInfo
from lightcl_edge.errors import StateError
from lightcl_edge.files.tensors import DoubleArray, FloatArray, IntArray
from lightcl_edge.learning.engines.contract import Engine, PatternTerm
from lightcl_edge.learning.strategies.class_rows import ROW_SHARPNESS, classifier_rows, nearest_mean_rows, write_rows
from lightcl_edge.learning.strategies.contract import Arrays, Settings, Strategy, Task
from lightcl_edge.learning.strategies.forward import parts, penultimate
from lightcl_edge.learning.strategies.statistics import ClassStatistics, discriminant_rows
from lightcl_edge.state.generation_checks import STATISTICS


class Slda(Strategy):
    """Class means and a shared covariance."""

    name = "slda"
    part = "slda"
    trains_head = False
    uses: ClassVar[tuple[str, ...]] = ()
    #: Whether the covariance is used; without it the nearest class mean decides.
    whitened = True

    def __init__(self, head: HeadInfo, settings: Settings) -> None:
        super().__init__(head, settings)
        self._tensors: dict[str, NDArray[np.generic]] = {}

    def restore(self, arrays: Arrays) -> None:
        """Take up the statistics of earlier tasks. Raises StateError when they do not fit this head."""
        if read_statistics(arrays, self.head) is not None:
            self._tensors = {name: np.array(arrays[name]) for name in STATISTICS}

    def tensors(self) -> dict[str, NDArray[np.generic]]:
        """Counts, means and covariance."""
        return dict(self._tensors)

    def forget(self, row: int) -> None:
        """The class's count and mean go, and the covariance with them: the next task takes it from the buffer."""
        if (statistics := read_statistics(self._tensors, self.head)) is not None:
            statistics.forget(row)
            self._tensors = statistics.tensors()

    def begin(self, task: Task, engine: Engine) -> PatternTerm | None:
        """Add the task's samples to the statistics and write the rows of all classes that have some.

        The covariance is unfolded here and folded again before any training step: both never need memory at once.
        """
        statistics = read_statistics(self._tensors, self.head) or ClassStatistics(
            self.head.capacity, self.head.penultimate_size, full=self.whitened
        )
        if task.exported:
            engine.load(ChainMap(classifier_rows(engine), task.exported))  # type: ignore[arg-type]  # only read from
        _add_missing(statistics, task, engine)
        for part, values in zip(parts(task.labels), penultimate(engine, task.read, task.rows), strict=True):
            statistics.add(values, part)
        seen = np.flatnonzero(statistics.counts[: task.known_classes])
        write_rows(engine, seen, *self.rows(statistics, statistics.means[seen]))
        self._tensors = statistics.tensors()
        return None

    def rows(self, statistics: ClassStatistics, means: DoubleArray) -> tuple[FloatArray, FloatArray]:
        """Weights and biases of classes with these means, shapes ``(k, d)`` and ``(k,)``."""
        try:
            return discriminant_rows(means, statistics.covariance())
        except np.linalg.LinAlgError as error:
            raise StateError(
                f"the covariance of what was learned before can't be solved ({error}), expected that of real samples; "
                "roll back to another generation: lightcl-edge rollback --state S"
            ) from error


class Ncm(Slda):
    """Nearest class mean (Mensink et al. 2013): as ``slda``, with one variance for all directions.

    The order of its logits is that of the distances. The variance only sets how sure the probabilities are.
    """

    name = "ncm"
    part = "ncm"
    whitened = False

    def rows(self, statistics: ClassStatistics, means: DoubleArray) -> tuple[FloatArray, FloatArray]:
        return nearest_mean_rows(means, ROW_SHARPNESS / (statistics.variance() * means.shape[1]))


def read_statistics(arrays: Arrays, head: HeadInfo) -> ClassStatistics | None:
    """The statistics in :meth:`ClassStatistics.tensors`; None when there are no tensors.

    Raises StateError when they do not fit this head.
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


def _add_missing(statistics: ClassStatistics, task: Task, engine: Engine) -> None:
    """From the buffer: classes that another strategy learned, and the covariance if a class was erased from it."""
    if task.buffer is None or not task.remembered:
        return
    labels: IntArray = task.buffer.labels
    missing = statistics.counts[labels] == 0
    rows = np.flatnonzero(missing | (statistics.scattered == 0))
    for part, values in zip(parts(rows), penultimate(engine, task.buffer.read, rows), strict=True):
        new = missing[part]
        statistics.add(values[new], labels[part][new])
        statistics.add_spread(values[~new], labels[part][~new])
