"""What a server offers: ``offer.json`` beside a bundle. Its signature is of the offer as JSON with sorted keys."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

from lightcl_edge.bundle.bundle import Bundle
from lightcl_edge.bundle.listing import MAX_FILE_BYTES
from lightcl_edge.bundle.signature import Seal, read_private_key, sign_manifest
from lightcl_edge.bundle.writing import write_bundle
from lightcl_edge.errors import SignatureError, UsageError
from lightcl_edge.files.durable import replace_durably
from lightcl_edge.files.plain import sha256_of
from lightcl_edge.files.records import between, hexadecimal, read_record
from lightcl_edge.files.strict_json import parse_json
from lightcl_edge.fleet.knowledge import network_hash

OFFER, MAX_OFFER_BYTES = "offer.json", 16 * 2**10
_SEAL = Seal(b"lightcl offer signature, version 1\n", "offer")
_SHA256 = hexadecimal(64)


@dataclass(frozen=True)
class Offer:
    """What is signed."""

    number: Annotated[int, between(1, 2**53 - 1)]  # grows; also the release of the bundle's signature
    bytes: Annotated[int, between(1, MAX_FILE_BYTES)]
    sha256: Annotated[str, _SHA256]
    identity: Annotated[str, _SHA256]  # of the bundle
    basis: Annotated[str, _SHA256]  # see basis_of
    model: str

    @property
    def file(self) -> str:
        """The bundle's name on the server."""
        return f"bundle-{self.number}.lclb"


def basis_of(bundle: Bundle) -> str:
    """SHA-256 of all that learned knowledge depends on: the network, and the classes that the bundle brings."""
    return hashlib.sha256(json.dumps([network_hash(bundle), bundle.manifest.classes]).encode()).hexdigest()


def make_offer(path: Path, key: Path, number: int | None, out: Path) -> Offer:
    """Write a folder that boards update from. A crash leaves the offer before.

    Args:
        path: of the bundle.
        key: PEM file of the private key.
        number: of the offer; None for the next one.

    Raises:
        UsageError: when the number is not above that of the offer in the folder.
        BundleError: when the bundle can't be used.
    """
    bundle, private, before = Bundle.open(path), read_private_key(key), 0
    if (out / OFFER).exists():
        before = parse_json((out / OFFER).read_bytes())["offer"]["number"]
    chosen = before + 1 if number is None else number
    if chosen <= before:
        raise UsageError(f"--number is {chosen}, the offer in {out} has {before}; boards take only larger numbers")
    target = out / f"bundle-{chosen}.lclb"
    files = {entry.path: bundle.path(entry.path).read_bytes() for entry in bundle.manifest.files}
    write_bundle(target, bundle.manifest, files, lambda manifest: sign_manifest(manifest, private, chosen))
    identity, basis = (written := Bundle.open(target)).identity, basis_of(written)
    size, digest = target.stat().st_size, sha256_of(target)
    offer = Offer(chosen, size, digest, identity, basis, bundle.manifest.model.name)
    value = asdict(offer)
    sealed = {"offer": value, "signature": parse_json(_SEAL.sign(_content(value), private, chosen))}
    replace_durably(out / OFFER, (json.dumps(sealed, indent=1) + "\n").encode())
    for old in set(out.glob("bundle-*.lclb")) - {target}:
        old.unlink()
    return offer


def read_offer(data: bytes, key: str) -> Offer:
    """The offer in ``offer.json``. Raises SignatureError when it is none, or not signed by a key (hexadecimal)."""
    try:
        value = parse_json(data)
        content, signature = _content(value["offer"]), json.dumps(value["signature"]).encode()
    except (ValueError, KeyError, TypeError) as error:
        raise SignatureError(f"{OFFER} is no offer ({error}); make one with lightcl-host offer") from error
    _SEAL.check(signature, content, key)
    return read_record(Offer, value["offer"], OFFER, SignatureError, "an offer of lightcl-host offer")


def _content(offer: object) -> bytes:
    return json.dumps(offer, sort_keys=True).encode()
