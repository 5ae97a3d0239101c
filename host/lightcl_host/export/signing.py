"""Sign the manifest of a bundle."""

import time
from collections.abc import Callable
from pathlib import Path

from lightcl_edge.bundle.signature import read_private_key, sign_manifest
from lightcl_edge.errors import UsageError


def signer(key: Path | None, release: int | None) -> Callable[[bytes], bytes] | None:
    """A function from the manifest's bytes to those of ``manifest.sig``; None without a key.

    Args:
        key: PEM file of the private key; None for no signature.
        release: number of the bundle, larger than those of earlier bundles; None for the seconds since 1970.

    Raises:
        UsageError: when the key can't be used, or a release is given without a key.
    """
    if key is None:
        if release is not None:
            raise UsageError("--release belongs to --sign KEY; without a signature nobody looks at it")
        return None
    number = int(time.time()) if release is None else release
    if not 0 <= number < 2**53:
        raise UsageError(f"--release {number}; expected a whole number of 0 or more")
    private = read_private_key(key)
    return lambda manifest: sign_manifest(manifest, private, number)
