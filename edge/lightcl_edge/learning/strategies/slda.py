"""Streaming linear discriminant analysis (Hayes and Kanan 2020): no gradient, exact running statistics.

The head stays as exported below its classifier. Each class has the mean of its penultimate activations, all classes
share one covariance, and the classifier's rows follow in closed form. Nothing depends on the order of samples or tasks,
so nothing is forgotten: learning ten classes in five tasks gives the classifier of learning them at once.

What differs from the paper: the covariance is the exact within-class one of all samples (theirs is built from means as
they were when a sample came), and it is shrunk by a share of its own mean variance instead of by an absolute 1e-4.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from lightcl_edge.bundle.manifest import HeadInfo
from lightcl_edge.errors import StateError
from lightcl_edge.files.tensors import DoubleArray, FloatArray
from lightcl_edge.learning.engines.contract import Engine, PatternTerm
from lightcl_edge.learning.strategies.class_rows import ROW_SHARPNESS
from lightcl_edge.learning.strategies.closed_form import read_statistics, take_in, write_rows
from lightcl_edge.learning.strategies.contract import Arrays, Settings, Strategy, Task
from lightcl_edge.learning.strategies.statistics import ClassStatistics, discriminant_rows
from lightcl_edge.state.generation_checks import STATISTICS


class Slda(Strategy):
    """Class means and a shared covariance.

    Args:
        head: names and shapes of the head.
        settings: not used.
    """

    name = "slda"
    part = "slda"
    trains_head = False
    uses: ClassVar[tuple[str, ...]] = ()
    #: Whether the covariance is used; without it the nearest class mean decides.
    whitened = True

    def __init__(self, head: HeadInfo, settings: Settings) -> None:
        super().__init__(head, settings)
        self._kept: dict[str, NDArray[np.generic]] = {}

    def restore(self, arrays: Arrays) -> None:
        """Take up the statistics of earlier tasks.

        Args:
            arrays: what :meth:`memory` gave; may be empty.

        Raises:
            StateError: when they do not fit this head.
        """
        if read_statistics(arrays, self.head) is not None:
            self._kept = {name: np.array(arrays[name]) for name in STATISTICS}

    def memory(self) -> dict[str, NDArray[np.generic]]:
        """Counts, means and covariance."""
        return dict(self._kept)

    def forget(self, row: int) -> None:
        """The class's count and mean go, and the covariance with them: the next task takes it from the buffer."""
        if (statistics := read_statistics(self._kept, self.head)) is not None:
            statistics.forget(row)
            self._kept = statistics.tensors()

    def active_classes(self, task: Task) -> NDArray[np.bool_]:
        """All known classes."""
        return np.arange(self.head.capacity) < task.known_classes

    def begin(self, task: Task, engine: Engine) -> PatternTerm | None:
        """Add the task's samples to the statistics and write the rows of all classes that have some.

        The covariance is unfolded here and folded again before any training step: both never need memory at once.
        """
        statistics = read_statistics(self._kept, self.head) or ClassStatistics(
            self.head.capacity, self.head.penultimate_size, full=self.whitened
        )
        seen = take_in(statistics, task, engine)
        write_rows(engine, seen, *self.rows(statistics, statistics.means[seen]))
        self._kept = statistics.tensors()
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

    The order of its logits is that of the distances; the variance only sets how sure the probabilities are.

    Args:
        head: names and shapes of the head.
        settings: not used.
    """

    name = "ncm"
    part = "ncm"
    whitened = False

    def rows(self, statistics: ClassStatistics, means: DoubleArray) -> tuple[FloatArray, FloatArray]:
        """As :meth:`Slda.rows`."""
        scale = ROW_SHARPNESS / (statistics.variance() * means.shape[1])
        return (scale * means).astype(np.float32), (-0.5 * scale * np.square(means).sum(axis=1)).astype(np.float32)
