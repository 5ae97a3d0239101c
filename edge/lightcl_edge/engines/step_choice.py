"""Which of a bundle's step graphs to train with: the fastest that needs no memory the run does not need anyway."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lightcl_edge.errors import BundleError
from lightcl_edge.manifest import StepGraph

IN_PLACE, ACCUMULATE = "in_place", "accumulate"
UPDATES = ("auto", IN_PLACE, ACCUMULATE)


@dataclass(frozen=True)
class StepChoice:
    """A way of training.

    Attributes:
        update: ``in_place``: a batch at once, updates written onto the parameters; ``accumulate``: in micro-batches
            that add up gradients, so that activations are few and each parameter has an accumulator.
        samples: new samples a run of a graph.
        working_bytes: largest sum of live tensors and accumulators during a step.
    """

    update: str
    samples: int
    working_bytes: int


def offered_choices(graphs: Sequence[StepGraph], parameter_bytes: int) -> list[StepChoice]:
    """All ways a bundle offers, the fastest first: in place, then the larger micro-batches.

    Args:
        graphs: of the manifest.
        parameter_bytes: of the head.

    Returns:
        The ways, each with the peak of its largest graph.
    """
    peaks: dict[tuple[str, int], int] = {}
    for graph in graphs:
        if graph.update in (IN_PLACE, ACCUMULATE):
            key = graph.update, 0 if graph.update == IN_PLACE else graph.samples
            peaks[key] = max(graph.peak_bytes, peaks.get(key, 0))
    ways = []
    for (update, samples), peak in peaks.items():
        ways.append(StepChoice(update, samples, peak + (parameter_bytes if update == ACCUMULATE else 0)))
    return sorted(ways, key=lambda way: (way.update == ACCUMULATE, -way.samples))


def choose_step(
    graphs: Sequence[StepGraph], parameter_bytes: int, *, update: str = "auto", spare_bytes: int = 0
) -> StepChoice:
    """Choose how to train.

    Args:
        graphs: of the manifest.
        parameter_bytes: of the head.
        update: ``in_place`` or ``accumulate`` to insist on one.
        spare_bytes: working memory that costs nothing, because another phase of the run needs as much.

    Returns:
        The first way within ``spare_bytes``, else the one that needs least.

    Raises:
        BundleError: when the bundle offers none of the kind.
    """
    ways = [way for way in offered_choices(graphs, parameter_bytes) if update in ("auto", way.update)]
    if not ways:
        offered = sorted({graph.update for graph in graphs} & set(UPDATES))
        raise BundleError(
            f"the bundle's training_step graphs are {offered or 'none'}, expected {update}; export the bundle again"
        )
    return next((way for way in ways if way.working_bytes <= spare_bytes), min(ways, key=lambda way: way.working_bytes))
