"""The head run forward over many samples, a few at a time."""

from collections.abc import Callable, Iterator

from lightcl_edge.bundle.graph_names import PENULTIMATE
from lightcl_edge.files.tensors import FloatArray, IntArray
from lightcl_edge.learning.engines.contract import Engine

#: Features that are read at once outside of training steps. They need little memory beside a step's own.
FORWARD_BATCH = 16


def parts(rows: IntArray) -> list[IntArray]:
    """Rows in runs of ``FORWARD_BATCH``."""
    return [rows[at : at + FORWARD_BATCH] for at in range(0, len(rows), FORWARD_BATCH)]


def penultimate(engine: Engine, read: Callable[[IntArray], FloatArray], rows: IntArray) -> Iterator[FloatArray]:
    """The classifier's inputs for each of :func:`parts`, shape ``(k, penultimate_size)``; ``read`` gives features."""
    for part in parts(rows):
        yield engine.activations(read(part), [PENULTIMATE])[PENULTIMATE]
