"""Which bundle a training uses: the state's own once it has one."""

from __future__ import annotations

from pathlib import Path

from lightcl_edge.bundle.bundle import Bundle
from lightcl_edge.errors import StateError
from lightcl_edge.state.state import State
from lightcl_edge.state.trust import Trust, check_trust, read_trust


def bundle_for(state: State, path: Path | None, key: str | None = None) -> tuple[Bundle, Trust | None]:
    """The bundle to train with, and what the state is to trust from now on.

    It is the state's copy if there is one and ``path`` names no other bundle; else the one at ``path``. Without a
    ``key`` (hexadecimal) the bundle must be signed as the state asks for.

    Raises:
        BundleError: when the bundle that was named is missing, or not signed as it must be.
        StateError: when there is neither, or the two differ.
    """
    if path is None:
        if not state.exists():
            raise StateError(
                f"there is no state at {state.folder}; check the path, or name a --bundle to make a new one"
            )
        own = state.bundle()
        trusted = read_trust(state.folder)
        return own, trusted if trusted and key in (None, trusted.key) else check_trust(state.folder, own, key)
    named = Bundle.open(path)
    trust = check_trust(state.folder, named, key)
    if not state.exists():
        return named, trust
    own = state.own_bundle()
    if own.identity == named.identity:
        return own, trust
    if state.numbers():
        raise StateError(
            f"the state at {state.folder} belongs to bundle {_label(own)}, found {_label(named)}; "
            "use another --state for another bundle"
        )
    return named, trust


def _label(bundle: Bundle) -> str:
    return f"{bundle.manifest.model.name} cut at {bundle.manifest.model.cut} ({bundle.identity[:12]})"
