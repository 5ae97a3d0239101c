"""A task begins with the old head, and rows for new classes at their class means."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lightcl_edge.bundle.manifest import WEIGHT
from lightcl_edge.learning.engines.contract import Engine
from lightcl_edge.learning.strategies.class_rows import class_means, start_rows
from lightcl_edge.learning.strategies.closed_form import classifier_rows, write_rows
from lightcl_edge.training_loop import Samples


def start_new_rows(engine: Engine, samples: Samples, new: Sequence[int], row_scale: float | None) -> float | None:
    """Write rows of classes that were not known before.

    Args:
        engine: holds the old head; only its classifier is changed.
        samples: of the task.
        new: rows of new classes.
        row_scale: of rows written before; None while there were none.

    Returns:
        The scale of rows from now on; None while no class was ever added.
    """
    if not new:
        return row_scale
    chosen = samples.rows[np.isin(samples.labels[samples.rows], new)]
    means, suggested = class_means(samples.penultimate(engine, chosen), samples.labels[chosen], new)
    scale = row_scale or suggested
    classifier = classifier_rows(engine)
    start_rows(classifier, new, means, scale)
    write_rows(engine, list(range(len(classifier[WEIGHT]))), *classifier.values())
    return scale
