"""Ed25519 signatures of bundles. Only this file uses the package ``cryptography`` (the extra ``sign``).

``manifest.sig`` signs the manifest, which holds every other file's hash, and a release number that only grows. The
format is in ``docs/reference/bundle.md``.
"""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from lightcl_edge.errors import SignatureError, UsageError
from lightcl_edge.files.durable import write_durably
from lightcl_edge.files.plain import read_limited
from lightcl_edge.files.records import Check, between, hexadecimal, read_record
from lightcl_edge.files.strict_json import parse_json

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

SIGNATURE = "manifest.sig"
ALGORITHM = "ed25519"
_KNOWN_ALGORITHM = Check(lambda name: name == ALGORITHM, ALGORITHM)
MAX_SIGNATURE_BYTES = MAX_KEY_BYTES = 4096
#: Says what is signed, so that the key's signature of anything else is not taken for one of a bundle.
_CONTEXT = b"lightcl bundle signature, version 1\n"


@dataclass(frozen=True)
class Signature:
    """The content of ``manifest.sig``: the public key's 32 bytes and the signature's 64 bytes in hexadecimal."""

    algorithm: Annotated[str, _KNOWN_ALGORITHM]
    key: Annotated[str, hexadecimal(64)]
    release: Annotated[int, between(0, 2**53 - 1)]  # grows from one signed bundle to the next
    signature: Annotated[str, hexadecimal(128)]


def _library() -> Any:
    try:
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import ed25519
    except ImportError as error:
        raise UsageError(
            f"signatures need the Python package cryptography ({error}); pip install 'lightcl-edge[sign]'"
        ) from error
    return serialization, ed25519


def make_key_pair(out: Path) -> dict[str, str]:
    """Make a key pair: ``OUT.key`` (secret, readable by its owner only) and ``OUT.pub``, both PEM.

    Gives ``private_key`` and ``public_key`` (paths) and ``key`` (the public key, hexadecimal).

    Raises:
        UsageError: when one of the files is there already, or cryptography is missing.
    """
    serialization, ed25519 = _library()
    secret, public = out.with_name(out.name + ".key"), out.with_name(out.name + ".pub")
    for path in (secret, public):
        if path.exists():
            raise UsageError(f"{path} is there already; keys are never replaced, choose another --out")
    key = ed25519.Ed25519PrivateKey.generate()
    encoding, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    out.parent.mkdir(parents=True, exist_ok=True)
    secret.touch(mode=0o600)
    write_durably(secret, key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, plain))
    info = serialization.PublicFormat.SubjectPublicKeyInfo
    write_durably(public, key.public_key().public_bytes(encoding, info))
    return {"private_key": str(secret), "public_key": str(public), "key": _hexadecimal(key.public_key())}


def _hexadecimal(key: Ed25519PublicKey) -> str:
    return key.public_bytes_raw().hex()


def _read_key(path: Path, secret: bool) -> Any:
    serialization, ed25519 = _library()
    kind, what = (ed25519.Ed25519PrivateKey, "private") if secret else (ed25519.Ed25519PublicKey, "public")
    found = None
    try:
        data = read_limited(path, MAX_KEY_BYTES)
        with suppress(ValueError, TypeError):
            read = serialization.load_pem_private_key if secret else serialization.load_pem_public_key
            found = read(data, password=None) if secret else read(data)
    except (OSError, ValueError) as error:
        raise UsageError(f"the key {path} can't be read ({error}); lightcl-host keygen makes a pair") from error
    if not isinstance(found, kind):
        raise UsageError(f"{path} holds no {what} Ed25519 key in PEM form; lightcl-host keygen makes a pair")
    return found


def read_private_key(path: Path) -> Ed25519PrivateKey:
    """A private key of ``lightcl-host keygen`` or ``openssl genpkey -algorithm ed25519``."""
    key: Ed25519PrivateKey = _read_key(path, secret=True)
    return key


def read_public_key(path: Path) -> str:
    """The public key in a PEM file, as 64 hexadecimal digits."""
    return _hexadecimal(_read_key(path, secret=False))


def sign_manifest(manifest: bytes, key: Ed25519PrivateKey, release: int) -> bytes:
    """The content of ``manifest.sig`` for the bytes of ``manifest.json``.

    The release must be larger than that of every bundle signed before.
    """
    public = _hexadecimal(key.public_key())
    text = key.sign(_message(manifest, release)).hex()
    return (json.dumps(asdict(Signature(ALGORITHM, public, release, text)), indent=1) + "\n").encode()


def _message(manifest: bytes, release: int) -> bytes:
    return _CONTEXT + f"{release}\n".encode() + manifest


def parse_signature(data: bytes) -> Signature:
    """Read ``manifest.sig``, or raise a SignatureError. The signature is not checked yet."""
    try:
        return read_record(Signature, parse_json(data), "", ValueError, "all of its keys")
    except ValueError as error:
        raise SignatureError(f"{SIGNATURE} is damaged ({error}); sign the bundle again") from error


def check_signature(data: bytes | None, manifest: bytes, key: str) -> int:
    """Check that a manifest is signed by a public key (hexadecimal); gives the release number.

    ``data`` are the bytes of ``manifest.sig``; None when there is none.

    Raises:
        SignatureError: when it is not signed, by another key, or was changed after it was signed.
        UsageError: when cryptography is missing.
    """
    if data is None:
        raise SignatureError(f"the bundle is not signed, expected {SIGNATURE} by key {key[:16]}...; export with --sign")
    found = parse_signature(data)
    if found.key != key:
        raise SignatureError(f"the bundle is signed by key {found.key[:16]}..., expected {key[:16]}...; check --key")
    _verify(found, _message(manifest, found.release), "bundle")
    return found.release


@dataclass(frozen=True)
class Seal:
    """What is signed besides bundles.

    Attributes:
        context: begins what is signed, so that a signature of one thing is not taken for one of another.
        noun: what a message calls it.
    """

    context: bytes
    noun: str

    def sign(self, content: bytes, key: Ed25519PrivateKey, release: int) -> bytes:
        """The signature of a content as JSON, as ``manifest.sig`` has it."""
        text = key.sign(self._message(content, release)).hex()
        return json.dumps(asdict(Signature(ALGORITHM, _hexadecimal(key.public_key()), release, text))).encode()

    def check(self, signature: bytes | None, content: bytes, key: str) -> None:
        """Check that a content is signed by a public key (hexadecimal); None is no signature.

        Raises:
            SignatureError: when it is not signed, by another key, or was changed after it was signed.
            UsageError: when cryptography is missing.
        """
        if signature is None:
            raise SignatureError(f"the {self.noun} is not signed, expected a signature by key {key[:16]}...")
        found = parse_signature(signature)
        if found.key != key:
            raise SignatureError(f"the {self.noun} is signed by key {found.key[:16]}..., expected {key[:16]}...")
        _verify(found, self._message(content, found.release), self.noun)

    def _message(self, content: bytes, release: int) -> bytes:
        return self.context + f"{release}\n".encode() + content


def _verify(found: Signature, message: bytes, noun: str) -> None:
    _, ed25519 = _library()
    from cryptography.exceptions import InvalidSignature

    try:
        ed25519.Ed25519PublicKey.from_public_bytes(bytes.fromhex(found.key)).verify(
            bytes.fromhex(found.signature), message
        )
    except (InvalidSignature, ValueError) as error:
        raise SignatureError(
            f"the signature does not belong to this {noun}: it was changed after it was signed; copy it again"
        ) from error
