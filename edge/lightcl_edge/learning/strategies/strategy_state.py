"""What all strategies keep between tasks, in one mapping ``part:tensor`` -> array (``strategy.safetensors``)."""

import numpy as np
from numpy.typing import NDArray

from lightcl_edge.bundle.manifest import HeadInfo
from lightcl_edge.learning.strategies import STRATEGIES
from lightcl_edge.learning.strategies.contract import Arrays, Settings, Strategy


def part_of(kept: Arrays, strategy: str) -> dict[str, NDArray[np.generic]]:
    """The tensors of the strategy of this name, under their own names."""
    prefix = f"{strategy}:"
    return {key.removeprefix(prefix): array for key, array in kept.items() if key.startswith(prefix)}


def joined(kept: Arrays, strategy: Strategy) -> dict[str, NDArray[np.generic]]:
    """All parts after a task: the strategy's own part is new, the others stay."""
    prefix = f"{strategy.name}:"
    others = {key: array for key, array in kept.items() if not key.startswith(prefix)}
    return others | {prefix + key: array for key, array in strategy.tensors().items()}


def forget_row(kept: Arrays, head: HeadInfo, row: int) -> dict[str, NDArray[np.generic]]:
    """Erase one class from every strategy's part; the rows above it move one down."""
    left: dict[str, NDArray[np.generic]] = {}
    for name, kind in STRATEGIES.items():
        if tensors := part_of(kept, name):
            strategy = kind(head, Settings(0.0, 0.0, 0))
            strategy.restore(tensors)
            strategy.forget(row)
            left |= joined({}, strategy)
    return left
