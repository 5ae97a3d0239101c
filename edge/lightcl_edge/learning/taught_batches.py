"""Was a batch of images learned already? After a crash, only the state knows."""

from contextlib import suppress
from pathlib import Path

from lightcl_edge.data.dataset import FolderDataset, identify
from lightcl_edge.errors import DataError, StateError
from lightcl_edge.state.state import State


def generation_taught(state: State, batch: Path) -> tuple[int, int]:
    """The generation in use, and the one that was taught the images in ``batch``; 0 when there is none."""
    number = state.current_number() if state.exists() else 0
    with suppress(StateError, DataError):
        taught = state.meta(number).sources[::-1] if number else []
        fingerprint = identify(FolderDataset(batch)).fingerprint if taught else ""
        if fingerprint in taught:
            return number, _ancestor(state, number, taught.index(fingerprint))
    return number, 0


def _ancestor(state: State, number: int, tasks: int) -> int:
    """The generation of so many tasks ago, or the oldest one on the way there that is still kept."""
    with suppress(StateError):
        for _ in range(tasks):
            number = state.meta(number).parent or number
    return number
