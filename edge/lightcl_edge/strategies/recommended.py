"""How long and how fast each strategy trains unless somebody says otherwise.

Chosen on validation images of CIFAR-10, never on test images: ``docs/results-learning.md``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from lightcl_edge.bundle.manifest import TrainingDefaults


@dataclass(frozen=True)
class Recommended:
    """A strategy's own numbers.

    Attributes:
        epochs: passes over a task's new samples.
        learning_rate: of plain SGD.
        beta: weight of the pattern term.
    """

    epochs: int
    learning_rate: float
    beta: float


#: The strategies without gradients use none of these.
RECOMMENDED = {
    "replay": Recommended(epochs=4, learning_rate=0.003, beta=0.0),
    "lightcl": Recommended(epochs=3, learning_rate=0.0001, beta=0.00005),
    "finetune": Recommended(epochs=3, learning_rate=0.0001, beta=0.0),
}


def recommended_for(defaults: TrainingDefaults, strategy: str) -> TrainingDefaults:
    """A bundle's defaults for a strategy.

    Args:
        defaults: of the bundle; its numbers belong to the strategy it names.
        strategy: that was chosen.

    Returns:
        The bundle's numbers for its own strategy, else the strategy's own.
    """
    own = RECOMMENDED.get(strategy)
    if own is None or strategy == defaults.strategy:
        return replace(defaults, strategy=strategy)
    return replace(defaults, strategy=strategy, epochs=own.epochs, learning_rate=own.learning_rate, beta=own.beta)
