"""Which bundles a state accepts: ``STATE/trust.json`` pins a key and the newest release seen under it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from lightcl_edge.bundle.bundle import Bundle
from lightcl_edge.errors import DowngradeError, SignatureError, StateError
from lightcl_edge.files.durable import replace_durably
from lightcl_edge.files.strict_json import read_json

NAME = "trust.json"


@dataclass(frozen=True)
class Trust:
    """What a state trusts.

    Attributes:
        key: the public key, hexadecimal.
        release: the newest accepted so far.
        identity: of the bundle that was accepted with it.
    """

    key: str
    release: int
    identity: str


def read_trust(folder: Path) -> Trust | None:
    """What a state directory trusts.

    Args:
        folder: the state directory.

    Returns:
        The record; None for a state that asks for no signatures.

    Raises:
        StateError: when the record is damaged: then no bundle is accepted.
    """
    path = folder / NAME
    if not path.exists():
        return None
    try:
        value = read_json(path)
        found = Trust(value["key"], value["release"], value["identity"])
        if not (isinstance(found.key, str) and type(found.release) is int and isinstance(found.identity, str)):
            raise ValueError("a value of another type")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StateError(f"{path} is damaged ({error}); restore a copy of the state") from error
    return found


def check_trust(folder: Path, bundle: Bundle, key: str | None) -> Trust | None:
    """Whether a state may take a bundle, under a key named now or pinned before.

    Args:
        folder: the state directory, which may not be there yet.
        bundle: what somebody wants to use.
        key: the public key that was named, hexadecimal; None for what is pinned.

    Returns:
        What to pin; None when nobody asks for signatures.

    Raises:
        StateError: when another key is pinned.
        SignatureError: when the bundle is not signed by the key.
        DowngradeError: when it is older than what was accepted, or lost its signature.
    """
    pinned = read_trust(folder)
    if pinned is not None and key not in (None, pinned.key):
        raise StateError(
            f"the state at {folder} trusts key {pinned.key[:16]}..., found {str(key)[:16]}...; a state keeps its key"
        )
    wanted = pinned.key if pinned else key
    if wanted is None:
        return None
    try:
        release = bundle.check_signature(wanted)
    except SignatureError as error:
        if pinned is not None and bundle.signature() is None:
            raise DowngradeError(
                f"the state at {folder} accepts only bundles signed by {wanted[:16]}..., this one is not signed"
            ) from error
        raise
    if pinned is not None and release < pinned.release:
        raise DowngradeError(
            f"the bundle is release {release}, the state at {folder} has accepted release {pinned.release} before; "
            "an older bundle is refused"
        )
    return Trust(wanted, release, bundle.identity)


def pin(folder: Path, trust: Trust | None) -> None:
    """Remember what was accepted; written only when it says something new.

    Args:
        folder: the state directory; its lock is held.
        trust: of :func:`check_trust`.
    """
    if trust is not None and trust != read_trust(folder):
        replace_durably(folder / NAME, (json.dumps(asdict(trust), indent=1) + "\n").encode())
