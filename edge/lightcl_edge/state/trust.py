"""Which bundles a state may take: ``STATE/trust.json`` names a key, and the newest release seen under it."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from lightcl_edge.bundle.bundle import Bundle
from lightcl_edge.bundle.signature import SIGNATURE
from lightcl_edge.errors import DowngradeError, SignatureError, StateError
from lightcl_edge.files.durable import replace_durably
from lightcl_edge.files.records import read_record
from lightcl_edge.files.strict_json import read_json

NAME = "trust.json"


@dataclass(frozen=True)
class Trust:
    key: str  # the public key, hexadecimal
    release: int  # the newest one taken so far
    identity: str  # of the bundle that was taken with it


def read_trust(folder: Path) -> Trust | None:
    """What a state directory trusts; None for a state that asks for no signatures.

    A damaged record is a StateError. Then no bundle is taken.
    """
    path = folder / NAME
    if not path.exists():
        return None
    try:
        return read_record(Trust, read_json(path), "", ValueError, "all of its keys", complete=True)
    except (OSError, ValueError) as error:
        raise StateError(f"{path} is damaged ({error}); restore a copy of the state") from error


def check_trust(folder: Path, bundle: Bundle, key: str | None) -> Trust | None:
    """Check that a state may take a bundle; gives what to trust from now on.

    Without a ``key`` (hexadecimal) the one that the state trusts counts. When it trusts none, nobody asks for
    signatures and the result is None. The state directory may not be there yet.

    Raises:
        StateError: when the state trusts another key.
        SignatureError: when the bundle is not signed by the key.
        DowngradeError: when it is older than what was taken before, or lost its signature.
    """
    trusted = read_trust(folder)
    if trusted is not None and key not in (None, trusted.key):
        raise StateError(
            f"the state at {folder} trusts key {trusted.key[:16]}..., found {str(key)[:16]}...; a state keeps its key"
        )
    wanted = trusted.key if trusted else key
    if wanted is None:
        return None
    try:
        release = bundle.check_signature(wanted)
    except SignatureError as error:
        if trusted is not None and bundle.signature() is None:
            raise DowngradeError(
                f"the state at {folder} accepts only bundles signed by {wanted[:16]}..., this one is not signed"
            ) from error
        raise
    if trusted is not None and release < trusted.release:
        raise DowngradeError(
            f"the bundle is release {release}, the state at {folder} has accepted release {trusted.release} before; "
            "an older bundle is refused"
        )
    return Trust(wanted, release, bundle.identity)


def remember_trust(folder: Path, trust: Trust | None, own: Bundle, signature: bytes | None) -> None:
    """Write down what a state trusts from now on, and the signature behind it, for the state's ``own`` copy.

    None leaves the copy's signature as it is.
    """
    if trust is None:
        return
    if signature is not None and signature != own.signature():
        replace_durably(own.folder / SIGNATURE, signature)
    if trust != read_trust(folder):
        replace_durably(folder / NAME, (json.dumps(asdict(trust), indent=1) + "\n").encode())
