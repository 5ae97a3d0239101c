"""Write a bundle."""

import hashlib
import os
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from lightcl_edge.bundle.listing import check_name
from lightcl_edge.bundle.manifest import MANIFEST, FileInfo, Manifest, parse_manifest
from lightcl_edge.bundle.signature import SIGNATURE
from lightcl_edge.errors import BundleError
from lightcl_edge.files.durable import fsync_folder, write_durably


def write_bundle(
    out: Path, manifest: Manifest, files: Mapping[str, bytes], sign: Callable[[bytes], bytes] | None = None
) -> Manifest:
    """Write a bundle aside and rename it into place; a bundle that is there is replaced.

    Args:
        out: a folder, or a path ending in ``.lclb`` for one uncompressed zip.
        manifest: everything but the file table, which is filled here.
        files: relative name -> content.
        sign: makes ``manifest.sig`` from the bytes of ``manifest.json``. None leaves the bundle without a signature.

    Raises:
        BundleError: when ``out`` exists and is not a bundle, or a name is not allowed.
    """
    for name in files:
        check_name(name)
    entries = [FileInfo(name, len(data), hashlib.sha256(data).hexdigest()) for name, data in sorted(files.items())]
    complete = replace(manifest, files=entries)
    parse_manifest(complete.to_json())
    check_replaceable(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    try:
        content = {MANIFEST: complete.to_json(), **files}
        if sign is not None:
            content[SIGNATURE] = sign(content[MANIFEST])
        if out.suffix == ".lclb":
            _write_zip(aside / out.name, content)
            os.replace(aside / out.name, out)
        else:
            for name, data in content.items():
                write_durably(aside / "bundle" / name, data)
            if out.exists():
                os.rename(out, aside / "replaced")
            os.rename(aside / "bundle", out)
        fsync_folder(out.parent)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return complete


def _write_zip(path: Path, content: Mapping[str, bytes]) -> None:
    with path.open("wb") as file:
        with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as packed:
            for name, data in sorted(content.items()):
                packed.writestr(zipfile.ZipInfo(name), data)  # no time stamp: the same content gives the same bytes
        file.flush()
        os.fsync(file.fileno())


def check_replaceable(out: Path) -> None:
    """Raise a BundleError when there is something else than a bundle: the path may be a typing error."""
    if not out.exists():
        return
    is_bundle = (out / MANIFEST).is_file() if out.is_dir() else out.suffix == ".lclb"
    if not is_bundle and not (out.is_dir() and not any(out.iterdir())):
        raise BundleError(f"{out} exists and is not a bundle; choose another path or remove it")
