"""Which strategy learns, and why."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from lightcl_edge.bundle.manifest import Manifest, TrainingDefaults
from lightcl_edge.console.text import first_names
from lightcl_edge.data.feature_buffer import DEFAULT_BUFFER_BYTES
from lightcl_edge.data.held_out_samples import HOLDOUT_PER_CLASS
from lightcl_edge.errors import UsageError
from lightcl_edge.learning.strategies import STRATEGIES
from lightcl_edge.planning.plan import Carried, Crowd, Plan, classifier_bytes, plan_training

AUTO = "auto"
NAMES = (AUTO, *STRATEGIES)
_NOTHING, _NOBODY = Carried(), Crowd()


@dataclass(frozen=True)
class StrategyChoice:
    """A strategy and, for a person, why it was chosen."""

    name: str
    reason: str


def planned_patterns(strategy: str, settings: TrainingDefaults) -> int:
    """How many samples carry patterns in each step, at most one batch."""
    held = min(settings.batch_size, settings.buffer_samples)
    return held if STRATEGIES[strategy].holds_patterns(settings.beta) else 0


def plan_for(
    strategy: str,
    manifest: Manifest,
    engine: str,
    batch_size: int,
    patterns: int,
    images: int,
    carried: Carried = _NOTHING,
    crowd: Crowd = _NOBODY,
    *,
    quick_steps: bool = True,
) -> Plan:
    """What a strategy's run will need."""
    kind = STRATEGIES[strategy]
    steps = (batch_size, patterns) if kind.trains_head else None
    plan = carried.added_to(plan_training(manifest, engine, images, steps, quick_steps=quick_steps))
    return crowd.added_to(plan, manifest, closed_form=kind.on_closed_form, trains=kind.trains_head)


def crowd_of(
    counts: Sequence[int], classes: int, known: int, remembered: int, taught: Sequence[int] | None = None
) -> Crowd:
    """What a task of so many images in each of its classes brings together.

    Args:
        counts: images of each class of the task.
        classes: known after it.
        known: classes known before it.
        remembered: samples that the feature buffer may hold.
        taught: images that each known class has had; None for many.
    """
    earlier = [HOLDOUT_PER_CLASS] * known if taught is None else taught
    judged = sum(min(count, HOLDOUT_PER_CLASS) for count in (*counts, *earlier))
    return Crowd(known, classes, judged, sum(counts), remembered)


def full_state(manifest: Manifest) -> Carried:
    """The most that a task loads of a state: feature buffer, held-out samples and the classifier of all classes."""
    head = manifest.head
    held_out = HOLDOUT_PER_CLASS * head.capacity * (math.prod(manifest.feature.shape) + 2 * head.tap_size)
    loaded = DEFAULT_BUFFER_BYTES + held_out + classifier_bytes(manifest, head.capacity)
    return Carried(loaded, DEFAULT_BUFFER_BYTES)


def full_crowd(manifest: Manifest) -> Crowd:
    """The classes and samples that meet when a task finds the classifier full."""
    head, sample_bytes = manifest.head, math.prod(manifest.feature.shape)
    full, remembered = head.capacity, DEFAULT_BUFFER_BYTES // sample_bytes
    return Crowd(full, full, HOLDOUT_PER_CLASS * full, 0, remembered)


def choose_strategy(asked: str, unsampled: Sequence[str] = ()) -> StrategyChoice:
    """Choose by name, or for ``auto`` the one that is as accurate as any and takes seconds.

    How they compare is in ``docs/builders/results-learning.md``.

    ``unsampled`` are classes that the bundle brought without any sample: only the head knows them, so the head alone
    must classify.

    Raises:
        UsageError: when there is no strategy of that name, or it can't know the unsampled classes.
    """
    if asked != AUTO:
        if asked not in STRATEGIES:
            raise UsageError(f"no strategy {asked!r}; expected one of {', '.join(sorted(NAMES))}")
        if unsampled and STRATEGIES[asked].on_closed_form:
            raise UsageError(
                f"--strategy {asked} needs samples of every class, and the bundle has none of "
                f"{first_names(unsampled)}; "
                "take --strategy lightcl or finetune, teach those classes too, or export with --seed-buffer"
            )
        return StrategyChoice(asked, "asked for")
    if unsampled:
        return StrategyChoice(
            "lightcl", f"the bundle has no samples of {first_names(unsampled)}: only its head knows them"
        )
    return StrategyChoice("slda", "it learns from sums, without training steps")


#: A strategy's own numbers. The strategies without steps use none of these.
RECOMMENDED: dict[str, dict[str, Any]] = {
    "replay": {"epochs": 4, "learning_rate": 0.003, "beta": 0.0},
    "lightcl": {"epochs": 3, "learning_rate": 0.0001, "beta": 0.00005},
    "finetune": {"epochs": 3, "learning_rate": 0.0001, "beta": 0.0},
}


def recommended_for(defaults: TrainingDefaults, strategy: str) -> TrainingDefaults:
    """What a strategy trains with: the bundle's defaults if they are for this strategy, else its own numbers."""
    own = {} if strategy == defaults.strategy else RECOMMENDED.get(strategy, {})
    return replace(defaults, strategy=strategy, **own)
