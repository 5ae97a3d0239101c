"""Which bundle a training uses: the state's own once it has one."""

from dataclasses import dataclass
from pathlib import Path

from lightcl_edge.bundle.bundle import Bundle
from lightcl_edge.errors import StateError
from lightcl_edge.state.state import State
from lightcl_edge.state.trust import Trust, check_trust, read_trust
from lightcl_edge.state.updates import read_updates


@dataclass(frozen=True)
class ChosenBundle:
    """The bundle to train with."""

    bundle: Bundle
    trust: Trust | None  # what the state trusts from now on; None when nobody asks for signatures
    signature: bytes | None = None  # of the bundle that the user named, if it has one


def bundle_for(state: State, path: Path | None, key: str | None = None) -> ChosenBundle:
    """Choose the bundle to train with.

    It is the state's copy if there is one and ``path`` names no other bundle; else the one at ``path``. Without a
    ``key`` (hexadecimal) the bundle must be signed as the state asks for. A bundle that an update has replaced stands
    for the one in use: a service goes on with the words it was set up with.

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
        is_known = trusted is not None and key in (None, trusted.key)
        return ChosenBundle(own, trusted if is_known else check_trust(state.folder, own, key))
    named = Bundle.open(path)
    if state.exists() and named.identity in read_updates(state.folder).replaced:
        return bundle_for(state, None, key)
    trust = check_trust(state.folder, named, key)
    if not state.exists():
        return ChosenBundle(named, trust, named.signature())
    own = state.own_bundle()
    if own.identity == named.identity:
        return ChosenBundle(own, trust, named.signature())
    if state.numbers():
        raise StateError(
            f"the state at {state.folder} belongs to bundle {_label(own)}, found {_label(named)}; "
            "use another --state for another bundle"
        )
    return ChosenBundle(named, trust, named.signature())


def _label(bundle: Bundle) -> str:
    return f"{bundle.manifest.model.name} cut at {bundle.manifest.model.cut} ({bundle.identity[:12]})"
