"""Tell a person when an export replaces another bundle."""

from pathlib import Path

from lightcl_edge.bundle.bundle import Bundle
from lightcl_edge.console.progress import Progress
from lightcl_edge.errors import LightclError

_SHOWN = 12


def identity_at(path: Path) -> str | None:
    """The identity of the bundle at a path; ``""`` where it is damaged, None where there is none."""
    if not path.exists() or (path.is_dir() and not any(path.iterdir())):
        return None
    try:
        return Bundle.open(path).identity
    except LightclError:
        return ""


def note_replaced(path: Path, before: str | None, progress: Progress) -> None:
    """Say that a new bundle replaced another, whose identity :func:`identity_at` found ``before``."""
    now = Bundle.open(path).identity
    if before is None or before == now:
        return
    old = f"bundle {before[:_SHOWN]}" if before else "a damaged bundle"
    progress.note(
        f"{path}: {old} was replaced by {now[:_SHOWN]}; states made with the old one keep their own copy and "
        "go on with it; the new one needs states of its own"
    )
