"""What several strategies keep, in one mapping: each has its own part, named ``strategy:tensor``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lightcl_edge.strategies.contract import Arrays, Settings, Strategy

if TYPE_CHECKING:
    from lightcl_edge.manifest import HeadInfo

#: States of version 0.1.0 held LightCL's masks without a name before them.
_UNNAMED = "lightcl"


def part_of(kept: Arrays, name: str) -> dict[str, NDArray[np.generic]]:
    """One strategy's part.

    Args:
        kept: by all strategies.
        name: of the strategy.

    Returns:
        Its tensors under its own names.
    """
    part = {key.partition(":")[2]: array for key, array in kept.items() if key.partition(":")[0] == name}
    if name == _UNNAMED:
        part |= {key: array for key, array in kept.items() if ":" not in key}
    return part


def joined(kept: Arrays, strategy: Strategy) -> dict[str, NDArray[np.generic]]:
    """All parts after a task: the strategy's renewed, the others' as they were.

    Args:
        kept: before.
        strategy: that learned.

    Returns:
        What to keep.
    """
    others = {
        key: array
        for key, array in kept.items()
        if key.partition(":")[0] != strategy.name and not (":" not in key and strategy.name == _UNNAMED)
    }
    return others | {f"{strategy.name}:{key}": array for key, array in strategy.memory().items()}


def forget_row(kept: Arrays, head: HeadInfo, row: int) -> dict[str, NDArray[np.generic]]:
    """Erase one class from what every strategy keeps; the rows above it move one down.

    Args:
        kept: by all strategies.
        head: names and shapes of the head.
        row: of the classifier.

    Returns:
        What is left.
    """
    from lightcl_edge.strategies import STRATEGIES

    left: dict[str, NDArray[np.generic]] = {}
    for name, kind in STRATEGIES.items():
        part = part_of(kept, name)
        if part:
            strategy = kind(head, Settings(0.0, 0.0, 0))
            strategy.restore(part)
            strategy.forget(row)
            left |= {f"{name}:{key}": array for key, array in strategy.memory().items()}
    return left
