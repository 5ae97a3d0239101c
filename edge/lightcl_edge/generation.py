"""A generation: everything a device has learned at one point, as records."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

#: Version of the records in ``meta.json``.
STATE_FORMAT = 1

Tensors = dict[str, NDArray[np.generic]]


@dataclass(frozen=True)
class Meta:
    """What is known of a generation besides its tensors.

    Attributes:
        generation: its number; 0 is the bundle as exported.
        created: Unix time in seconds.
        bundle_identity: of the bundle it belongs to.
        classes: names of the classifier's rows in order.
        parent: the generation it was learned from.
        strategy: that made it.
        engine: that made it.
        engine_reason: why that one.
        tasks: how many tasks were learned.
        images: learned in the last task.
        holdout_accuracy: of the new head on the held-out features of all classes; None when there are none.
        row_scale: the scale that new rows of the classifier start with; None while none was added.
        bytes_written_total: by all tasks so far, this one included.
        files: name -> SHA-256 of the generation's other files.
        format: of this record.
    """

    generation: int
    created: float
    bundle_identity: str
    classes: list[str]
    parent: int = 0
    strategy: str | None = None
    engine: str | None = None
    engine_reason: str | None = None
    tasks: int = 0
    images: int = 0
    holdout_accuracy: float | None = None
    row_scale: float | None = None
    bytes_written_total: int = 0
    files: dict[str, str] = field(default_factory=dict)
    format: int = STATE_FORMAT


@dataclass(frozen=True)
class Generation:
    """A generation, read.

    Attributes:
        meta: its record.
        parameters: of the head; read from the file one by one when they are asked for.
        strategy_state: what the strategy remembers.
        holdout: ``features`` (uint8) and ``labels`` (int64) kept out of training, or empty.
        buffer: of :class:`lightcl_edge.feature_buffer.FeatureBuffer`, or empty.
    """

    meta: Meta
    parameters: Mapping[str, NDArray[np.float32]]
    strategy_state: Tensors
    holdout: Tensors
    buffer: Tensors = field(default_factory=dict)
