"""What the loss is and what is remembered: strategies behind one contract."""

from __future__ import annotations

from lightcl_edge.bundle.manifest import HeadInfo
from lightcl_edge.errors import UsageError
from lightcl_edge.learning.strategies.contract import Settings, Strategy
from lightcl_edge.learning.strategies.finetune import Finetune
from lightcl_edge.learning.strategies.lightcl import LightCL
from lightcl_edge.learning.strategies.replay import Replay
from lightcl_edge.learning.strategies.slda import Ncm, Slda

STRATEGIES: dict[str, type[Strategy]] = {kind.name: kind for kind in (Replay, Slda, Ncm, LightCL, Finetune)}


def make_strategy(name: str, head: HeadInfo, settings: Settings) -> Strategy:
    """Make a strategy by name.

    Args:
        head: names and shapes of the head.

    Raises:
        UsageError: when there is none of that name.
    """
    if name not in STRATEGIES:
        raise UsageError(f"no strategy {name!r}; expected one of {', '.join(sorted(STRATEGIES))}")
    return STRATEGIES[name](head, settings)
