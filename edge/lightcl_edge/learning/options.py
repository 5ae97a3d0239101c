"""What a user may ask of a training, and what that makes of the bundle's defaults."""

import math
from dataclasses import dataclass, replace
from pathlib import Path

from lightcl_edge.bundle.manifest import TrainingDefaults
from lightcl_edge.data.dataset import Dataset
from lightcl_edge.errors import UsageError
from lightcl_edge.learning.gate import DEFAULT_MAX_FORGETTING
from lightcl_edge.learning.strategies import STRATEGIES
from lightcl_edge.learning.strategies.choice import recommended_for

#: What a user may set of a strategy's training.
_SETTINGS = ("epochs", "batch_size", "learning_rate", "beta", "ratio", "pattern_samples")


@dataclass(frozen=True)
class TrainOptions:
    """What a user asks for; None takes the bundle's default.

    Attributes:
        bundle: path of the bundle; None once the state has its own copy.
        data: specification of the task's images, or the images themselves.
        buffer_size: of the feature buffer: samples (``500``) or bytes (``2MB``).
        buffer_fill: ``reservoir`` or ``herding``.
        threads: None for all processors that this process may use.
        memory_budget_bytes: None for what the machine has; ``UNCHECKED_BYTES`` to refuse no plan.
        key: PEM file of the public key that the bundle must be signed by; None for what the state asks for.
        max_forgetting: largest allowed loss of held-out accuracy on earlier classes, 0 to 1; 1 allows any.
        from_generation: learn only if the state is at this generation; 0 when nothing was learned yet.
        provider: of the trunk: ``tensorrt``, ``cuda`` or ``cpu``.
        cool_at_celsius: pause while the board is this hot or throttled; None to never pause.
    """

    bundle: Path | None
    state: Path
    data: str | Dataset
    strategy: str | None = None
    engine: str = "auto"
    epochs: int | None = None
    batch_size: int | None = None
    learning_rate: float | None = None
    beta: float | None = None
    ratio: float | None = None
    pattern_samples: int | None = None
    buffer_size: str | None = None
    buffer_fill: str = "reservoir"
    seed: int = 0
    threads: int | None = None
    memory_budget_bytes: int | None = None
    max_forgetting: float = DEFAULT_MAX_FORGETTING
    key: Path | None = None
    from_generation: int | None = None
    cool_at_celsius: float | None = None
    provider: str | None = None

    def ignored(self, strategy: str) -> list[str]:
        """The options of the command line that the user set and the strategy does not use."""
        unused = [name for name in _SETTINGS if name not in STRATEGIES[strategy].uses]
        return [f"--{name.replace('_', '-')}" for name in unused if getattr(self, name) is not None]

    def settings(self, defaults: TrainingDefaults, strategy: str) -> TrainingDefaults:
        """What a strategy trains with: the user's numbers, else those of bundle and strategy.

        Raises:
            UsageError: when a number is out of its range.
        """
        names = [name for name in _SETTINGS if name != "pattern_samples"]
        chosen = {name: getattr(self, name) for name in names if getattr(self, name) is not None}
        if self.pattern_samples is not None:
            chosen["buffer_samples"] = self.pattern_samples
        settings = replace(recommended_for(defaults, strategy), **chosen)
        allowed = {
            "epochs": (settings.epochs >= 1, "1 or more"),
            "batch_size": (settings.batch_size >= 1, "1 or more"),
            "learning_rate": (0 < settings.learning_rate < math.inf, "a number above 0"),
            "beta": (0 <= settings.beta < math.inf, "0 or more"),
            "ratio": (0 <= settings.ratio <= 1, "0 to 1"),
            "pattern_samples": (settings.buffer_samples >= 0, "0 or more"),
            "max_forgetting": (0 <= self.max_forgetting <= 1, "0 to 1"),
            "seed": (self.seed >= 0, "0 or more"),
        }
        for name, (fine, expected) in allowed.items():
            if not fine:
                found = getattr(settings, name, getattr(self, name, None))
                raise UsageError(f"{name.replace('_', ' ')} is {found}, expected {expected}")
        return settings
