"""What is slow to make and never changed is made once for all processes of a test run."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """The file or folder of this name; ``make`` writes it to a path when it is asked for the first time.

    Workers of pytest-xdist have a folder each, side by side; without workers there is one folder.
    """
    base = factory.getbasetemp()
    shared = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "made_once"
    shared.mkdir(exist_ok=True)
    place, part = shared / name, shared / f"part-{name}"
    with FileLock(shared / f"{name}.lock"):
        if not place.exists():
            make(part)
            part.rename(place)
    return place
