"""The contract of a strategy: what a task's steps minimise, and what it keeps between tasks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from lightcl_edge.engines.contract import Engine, FloatArray, IntArray, PatternTerm
from lightcl_edge.manifest import HeadInfo

Arrays = Mapping[str, NDArray[np.generic]]


@dataclass(frozen=True)
class Settings:
    """What a user may set.

    Attributes:
        beta: weight of the pattern term.
        ratio: share of channels that a task marks as important, 0 to 1.
        buffer_samples: how many samples carry patterns.
    """

    beta: float
    ratio: float
    buffer_samples: int


@dataclass(frozen=True)
class Task:
    """The task that is about to be learned.

    Attributes:
        number: 0 for the first this state learns.
        labels: of its training samples, shape ``(n,)``, rows of the classifier.
        known_classes: rows in use, the task's new ones included.
        first_rows: the samples of the first batch, in order.
        read: gives the float features, shape ``(k, *feature_shape)``, at ``k`` positions.
    """

    number: int
    labels: IntArray
    known_classes: int
    first_rows: IntArray
    read: Callable[[IntArray], FloatArray]


class Strategy(ABC):
    """A way of learning.

    Args:
        head: names and shapes of the head.
        settings: what the user set.
    """

    name: ClassVar[str]

    def __init__(self, head: HeadInfo, settings: Settings) -> None:
        self.head, self.settings = head, settings
        self._kept: dict[str, NDArray[np.generic]] = {}

    def restore(self, arrays: Arrays) -> None:
        """Take up what an earlier task left; an empty mapping means that there was none."""
        self._kept = {name: np.array(array) for name, array in arrays.items()}

    def memory(self) -> dict[str, NDArray[np.generic]]:
        """What to keep until the next task: unless a strategy says otherwise, what it was given, for another one."""
        return dict(self._kept)

    def begin(self, task: Task, engine: Engine) -> PatternTerm | None:
        """Prepare for a task, with the engine still holding the old head.

        Args:
            task: what comes.
            engine: to look at activations; its parameters are not changed.

        Returns:
            The pattern term of every step, or None.
        """
        del task, engine
        return None

    @abstractmethod
    def active_classes(self, task: Task) -> NDArray[np.bool_]:
        """The rows of the classifier that take part in the task's cross entropy, shape ``(capacity,)``."""
