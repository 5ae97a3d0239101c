"""Files of a web server or a folder, never larger than they may be. A download goes on where it stopped."""

from __future__ import annotations

import errno
import http.client
import ssl
import urllib.error
import urllib.request
from contextlib import closing
from pathlib import Path
from typing import BinaryIO

from lightcl_edge.console.progress import Progress
from lightcl_edge.errors import BundleError, StorageError, UsageError
from lightcl_edge.files.durable import DurableFile, make_folders, remove
from lightcl_edge.files.plain import open_plain, sha256_of
from lightcl_edge.fleet.offer import Offer

_TIMEOUT_SECONDS, _PIECE_BYTES = 30, 2**18
_FAULTS = (OSError, http.client.HTTPException)
_OF_THE_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS)


def read_from(source: str, name: str, limit_bytes: int) -> bytes:
    """The start of a small file, or a StorageError when it can't be read."""
    try:
        with closing(_open(source, name, 0)[0]) as file:
            return file.read(limit_bytes)
    except _FAULTS as error:
        raise _unreachable(source, name, error) from error


def download(source: str, offer: Offer, folder: Path, progress: Progress) -> Path:
    """The bundle's file on this disk, whole; what was downloaded before an error is used the next time.

    Raises:
        StorageError: when the server or the disk fails.
        BundleError: when the file is not the one that was offered.
    """
    make_folders(folder)
    part = folder / f"{offer.sha256[:16]}.part"
    for other in folder.glob("*.part"):
        if other != part or other.stat().st_size > offer.bytes:
            remove(other)
    start = part.stat().st_size if part.exists() else 0
    if start < offer.bytes:
        try:
            _fetch(source, offer, part, start, progress)
        except _FAULTS as error:
            raise _unreachable(source, offer.file, error) from error
    if (found := sha256_of(part)) != offer.sha256:
        remove(part)
        raise BundleError(
            f"{offer.file} has SHA-256 {found[:12]}..., the offer says {offer.sha256[:12]}...; copy the folder of "
            "lightcl-host offer to the server again"
        )
    return part


def _fetch(source: str, offer: Offer, part: Path, start: int, progress: Progress) -> None:
    file, done = _open(source, offer.file, start)
    if done < start:  # the server can't begin in the middle
        remove(part)
    with closing(file), DurableFile(part, append=True) as out:
        while done < offer.bytes and (piece := file.read(min(_PIECE_BYTES, offer.bytes - done))):
            out.write(piece)
            done += len(piece)
            progress.show("downloading", done, offer.bytes, None)
        out.sync()
    if done < offer.bytes:
        raise ConnectionError(f"it ended after {done} of {offer.bytes} bytes; the same command goes on from there")


def _open(source: str, name: str, start: int) -> tuple[BinaryIO, int]:
    """An open file and where in it the next byte is."""
    if "://" not in source:
        file = open_plain(Path(source) / name)
        file.seek(start)
        return file, start
    if not source.startswith(("http://", "https://")):
        raise UsageError(f"--from is {source!r}, expected http://..., https://... or a folder")
    headers = {"Range": f"bytes={start}-"} if start else {}
    request = urllib.request.Request(f"{source.rstrip('/')}/{name}", headers=headers)  # noqa: S310 - checked above
    answer = urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS)  # noqa: S310
    return answer, start if answer.status == http.client.PARTIAL_CONTENT else 0


def _unreachable(source: str, name: str, error: Exception) -> StorageError:
    if getattr(error, "errno", None) in _OF_THE_DISK:
        raise error
    why = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(why, ssl.SSLCertVerificationError):
        return StorageError(
            f"{source}: its certificate is not trusted here ({why.verify_message}); set SSL_CERT_FILE to the "
            "certificate of your own authority, or use the name that this one has"
        )
    return StorageError(f"{source}: {name} can't be read ({why}); check --from, the network and the server")
