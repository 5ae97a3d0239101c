"""What several strategies keep, in one mapping ``part:tensor`` -> array: another strategy's part is passed on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lightcl_edge.learning.strategies.contract import Arrays, Settings, Strategy

if TYPE_CHECKING:
    from lightcl_edge.bundle.manifest import HeadInfo

#: States of version 0.1.0 held LightCL's masks without a name before them.
_UNNAMED = "lightcl"


def part_of(kept: Arrays, part: str) -> dict[str, NDArray[np.generic]]:
    """One strategy's part.

    Args:
        kept: by all strategies.
        part: its name, a strategy's ``part``.

    Returns:
        Its tensors under its own names.
    """
    return {_split(key)[1]: array for key, array in kept.items() if _split(key)[0] == part}


def _split(key: str) -> tuple[str, str]:
    """Part and tensor of a key."""
    part, colon, tensor = key.partition(":")
    return (part, tensor) if colon else (_UNNAMED, key)


def joined(kept: Arrays, strategy: Strategy) -> dict[str, NDArray[np.generic]]:
    """All parts after a task: the strategy's renewed, the others' as they were.

    Args:
        kept: before.
        strategy: that learned.

    Returns:
        What to keep.
    """
    others = {key: array for key, array in kept.items() if _split(key)[0] != strategy.part}
    return others | {f"{strategy.part}:{key}": array for key, array in strategy.memory().items()}


def forget_row(kept: Arrays, head: HeadInfo, row: int) -> dict[str, NDArray[np.generic]]:
    """Erase one class from what every strategy keeps; the rows above it move one down.

    Args:
        kept: by all strategies.
        head: names and shapes of the head.
        row: of the classifier.

    Returns:
        What is left.
    """
    from lightcl_edge.learning.strategies import STRATEGIES

    left: dict[str, NDArray[np.generic]] = {}
    for part, kind in {kind.part: kind for kind in STRATEGIES.values()}.items():
        if tensors := part_of(kept, part):
            strategy = kind(head, Settings(0.0, 0.0, 0))
            strategy.restore(tensors)
            strategy.forget(row)
            left |= {f"{part}:{key}": array for key, array in strategy.memory().items()}
    return left
