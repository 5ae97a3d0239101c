"""Which of a bundle's step graphs to train with: the fastest that does not raise the run's peak memory."""

from collections.abc import Sequence
from dataclasses import dataclass

from lightcl_edge.bundle.graph_names import ACCUMULATE, IN_PLACE, UPDATES
from lightcl_edge.bundle.manifest import StepGraph
from lightcl_edge.errors import BundleError

#: Memory of onnxruntime's arena for a byte of a step's live tensors. The arena doubles and never fits exactly.
ARENA_FACTOR = 1.6


@dataclass(frozen=True)
class StepChoice:
    """A way of training.

    Attributes:
        update: ``in_place`` trains on a batch at once and writes updates onto the parameters. ``accumulate`` adds up
            gradients over micro-batches: fewer activations, but an accumulator for each parameter.
        samples: new samples in one run of a graph; 0 in place.
        needed_bytes: the arena for live tensors, and the accumulators.
    """

    update: str
    samples: int
    needed_bytes: int


def offered_choices(graphs: Sequence[StepGraph], parameter_bytes: int, patterns: bool = True) -> list[StepChoice]:
    """All ways that a bundle offers, each with what its largest graph needs.

    The fastest comes first: in place, then the larger micro-batches. Without patterns smaller graphs do.
    """
    steps = [graph for graph in graphs if graph.update in (IN_PLACE, ACCUMULATE)]
    if not patterns:
        plain = {graph.update for graph in steps if not graph.buffered_samples}
        steps = [graph for graph in steps if not graph.buffered_samples or graph.update not in plain]
    peaks: dict[tuple[str, int], int] = {}
    for graph in steps:
        key = graph.update, 0 if graph.update == IN_PLACE else graph.samples
        peaks[key] = max(graph.peak_bytes, peaks.get(key, 0))
    ways = []
    for (update, samples), peak in peaks.items():
        accumulators = parameter_bytes if update == ACCUMULATE else 0
        ways.append(StepChoice(update, samples, int(ARENA_FACTOR * peak) + accumulators))
    return sorted(ways, key=lambda way: (way.update == ACCUMULATE, -way.samples))


def choose_step(
    graphs: Sequence[StepGraph],
    parameter_bytes: int,
    *,
    update: str = "auto",
    spare_bytes: int = 0,
    patterns: bool = True,
) -> StepChoice:
    """Choose the fastest way within ``spare_bytes``, else the one that needs least.

    ``spare_bytes`` cost nothing, because another phase of the run needs as much. ``update`` may insist on one kind.
    Raises BundleError when the bundle does not offer it.
    """
    ways = [way for way in offered_choices(graphs, parameter_bytes, patterns) if update in ("auto", way.update)]
    if not ways:
        offered = sorted({graph.update for graph in graphs} & set(UPDATES))
        raise BundleError(
            f"the bundle's training_step graphs are {offered or 'none'}, expected {update}; export the bundle again"
        )
    return next((way for way in ways if way.needed_bytes <= spare_bytes), min(ways, key=lambda way: way.needed_bytes))
