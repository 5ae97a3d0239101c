"""A generation: everything a device has learned at one point, as records."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, get_args, get_origin, get_type_hints

import numpy as np
from numpy.typing import NDArray

#: Version of the records in ``meta.json``.
STATE_FORMAT = 1
#: How many generations stay for ``rollback``.
KEPT_GENERATIONS = 5
#: How many tasks back a state knows what it was taught from.
REMEMBERED_TASKS = 64
#: Seconds since 1970 that every calendar can show.
_LATEST = 2**40

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
        engine_device: what computed its steps, ``cpu`` or a GPU.
        trunk_provider: what computed the trunk; None where its features were there already.
        tasks: how many tasks were learned.
        images: learned in the last task.
        holdout_accuracy: of the new head on the held-out features of all classes; None when there are none.
        row_scale: the scale that new rows of the classifier start with; None while none was added.
        bytes_written_total: to this state's disk when the generation was committed.
        sources: fingerprints of the data of the newest tasks it was learned from, oldest first; none of before a
            class was forgotten.
        renumbered_from: the number it had before a class was forgotten; None when that never happened.
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
    engine_device: str | None = None
    trunk_provider: str | None = None
    tasks: int = 0
    images: int = 0
    holdout_accuracy: float | None = None
    row_scale: float | None = None
    bytes_written_total: int = 0
    sources: list[str] = field(default_factory=list)
    renumbered_from: int | None = None
    files: dict[str, str] = field(default_factory=dict)
    format: int = STATE_FORMAT


def meta_from(value: Any) -> Meta:
    """A record as ``meta.json`` holds it, every value checked for its type.

    Args:
        value: parsed JSON; unknown keys are ignored, of a known version or not.

    Returns:
        The record.

    Raises:
        ValueError: naming what is missing, of another type, or does not go together.
    """
    if not isinstance(value, dict):
        raise ValueError(f"is {type(value).__name__}, expected an object")
    known = {entry.name for entry in fields(Meta)}
    hints = get_type_hints(Meta)
    for name in known & set(value):
        if not _fits(value[name], hints[name]):
            raise ValueError(f"{name} is {str(value[name])[:80]!r}, expected {hints[name]}")
    missing = {"generation", "created", "bundle_identity", "classes", "files", "format"} - set(value)
    if missing:
        raise ValueError(f"lacks {sorted(missing)[0]!r}")
    meta = Meta(**{name: value[name] for name in known & set(value)})
    if meta.generation < 1 or not 0 <= meta.parent < meta.generation or len(set(meta.classes)) < len(meta.classes):
        raise ValueError(f"generation {meta.generation} with parent {meta.parent} or repeated classes")
    fine = {
        "created": 0 <= meta.created < _LATEST,
        "tasks and images": meta.tasks >= 0 and meta.images >= 0,
        "bytes_written_total": meta.bytes_written_total >= 0,
        "holdout_accuracy": meta.holdout_accuracy is None or 0 <= meta.holdout_accuracy <= 1,
        "row_scale": meta.row_scale is None or meta.row_scale > 0,
    }
    for name, holds in fine.items():
        if not holds:
            raise ValueError(f"{name} is out of its range")
    return meta


def _fits(value: Any, hint: Any) -> bool:
    """Whether a JSON value is of a field's type."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin is list:
        return isinstance(value, list) and all(_fits(item, inner[0]) for item in value)
    if origin is dict:
        return isinstance(value, dict) and all(_fits(item, inner[1]) for item in value.values())
    if inner:  # a union
        return any(_fits(value, option) for option in inner)
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63
    return isinstance(value, hint)


@dataclass(frozen=True)
class Generation:
    """A generation, read.

    Attributes:
        meta: its record.
        parameters: of the head; read from the file one by one when they are asked for.
        strategy_state: what the strategy remembers.
        holdout: ``features`` (uint8) and ``labels`` (int64) kept out of training, or empty.
        buffer: of :class:`lightcl_edge.data.feature_buffer.FeatureBuffer`, or empty.
    """

    meta: Meta
    parameters: Mapping[str, NDArray[np.float32]]
    strategy_state: Tensors
    holdout: Tensors
    buffer: Tensors = field(default_factory=dict)
