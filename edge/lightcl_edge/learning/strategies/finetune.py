"""Plain training on the new task alone: the baseline that forgets."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lightcl_edge.learning.strategies.contract import Strategy, Task


class Finetune(Strategy):
    """Cross entropy over all classes known so far, nothing remembered."""

    name = "finetune"
    part = "finetune"
    uses = ("epochs", "batch_size", "learning_rate")

    def active_classes(self, task: Task) -> NDArray[np.bool_]:
        """All known classes."""
        return np.arange(self.head.capacity) < task.known_classes
