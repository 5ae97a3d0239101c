"""A bundle that an export replaces: what a person should know who trained with it."""

from __future__ import annotations

from pathlib import Path

from lightcl_edge.bundle.bundle import Bundle
from lightcl_edge.console.progress import Progress
from lightcl_edge.errors import LightclError

_SHOWN = 12


def identity_at(path: Path) -> str | None:
    """Which bundle is at a path.

    Args:
        path: of a folder or ``.lclb`` file.

    Returns:
        The identity, ``""`` where a bundle is damaged, None where there is none.
    """
    if not path.exists() or (path.is_dir() and not any(path.iterdir())):
        return None
    try:
        return Bundle.open(path).identity
    except LightclError:
        return ""


def note_replaced(path: Path, before: str | None, progress: Progress) -> None:
    """Say that another bundle was at a path before.

    Args:
        path: where a bundle was written.
        before: what :func:`identity_at` found there; the same bundle again is nothing to tell.
        progress: prints the note.
    """
    now = Bundle.open(path).identity
    if before is None or before == now:
        return
    old = f"bundle {before[:_SHOWN]}" if before else "a damaged bundle"
    progress.note(
        f"{path}: {old} was replaced by {now[:_SHOWN]}; states made with the old one keep their own copy of it and go "
        "on with that, the new one needs states of its own"
    )
