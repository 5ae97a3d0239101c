"""Pictures that were learned and kept, to learn them again with another trunk."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from lightcl_edge.data.class_names import canonical
from lightcl_edge.data.dataset import ORDER
from lightcl_edge.data.image_folders import look_into
from lightcl_edge.data.spool import LEARNED
from lightcl_edge.errors import StateError
from lightcl_edge.files.durable import link_or_copy, make_folders
from lightcl_edge.state.state import State

#: Class -> its pictures.
Frames = dict[str, list[Path]]


def kept_frames(state: State, folder: Path, classes: Sequence[str]) -> Frames:
    """The pictures of known classes: those that were forgotten, or that a rollback undid, stay out.

    Args:
        folder: that ``watch`` or the page learned from, with ``.learned`` in it; or one with a sub-folder a class.
    """
    found: Frames = {name: [] for name in classes}
    batches = [folder] if folder.is_dir() else []
    if (learned := folder / LEARNED).is_dir():
        gaps = _undone(state)
        numbers = {batch: batch.name.partition("-")[0] for batch in look_into(learned).folders}
        batches = [
            batch
            for batch, number in numbers.items()
            if not (number.isdecimal() and any(low < int(number) < high for low, high in gaps))
        ]
    for place in (place for batch in batches for place in look_into(batch).folders):
        if (name := canonical(place.name)) in found:
            found[name] += look_into(place).images
    return {name: paths for name, paths in found.items() if paths}


def _undone(state: State) -> list[tuple[int, float]]:
    """Between these numbers is no generation that the one in use was learned from.

    After a class was forgotten generations have other numbers than when they were taught, and nothing is known of them.
    """
    at, above, gaps = state.current_number(), math.inf, list[tuple[int, float]]()
    with suppress(StateError):
        while at and state.meta(at).renumbered_from is None:
            gaps.append((at, above))
            at, above = state.meta(at).parent, at
        if not at:
            gaps.append((at, above))
    return gaps


def lay_out(frames: Frames, out: Path) -> None:
    """A folder that ``train`` reads, with the classes in this order. Its files are links where there can be links."""
    for name, paths in frames.items():
        make_folders(out / name)
        for number, path in enumerate(paths):
            link_or_copy(path, out / name / f"{number:06d}{path.suffix}")
    (out / ORDER).write_text(json.dumps(list(frames)))
