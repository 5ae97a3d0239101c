"""The files of a bundle before any of them is believed: names, kinds, sizes, and the zip around them."""

import errno
import shutil
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from lightcl_edge.bundle.manifest import MANIFEST, MAX_FILES, MAX_NAME_LENGTH, FileInfo, Manifest
from lightcl_edge.bundle.signature import SIGNATURE
from lightcl_edge.errors import (
    BundleError,
    DuplicateNameError,
    HugeHeaderError,
    LinkError,
    UnsafePathError,
    ZipBombError,
)

MAX_FILE_BYTES = 2 * 2**30
#: The list of entries at a zip's end, for the allowed number of files with the longest names.
MAX_DIRECTORY_BYTES = 2**20
_START_MAGIC = b"PK\x03\x04"
_END_MAGIC, _END_BYTES = b"PK\x05\x06", 22
#: A file where another entry needs a folder, an offset before the file's start.
_NAMES_THAT_CLASH = (errno.EINVAL, errno.ENOTDIR, errno.EEXIST, errno.EISDIR, errno.ENAMETOOLONG)
#: What stands beside the listed files.
UNLISTED = (MANIFEST, SIGNATURE)


def check_name(name: str) -> None:
    """Raise an UnsafePathError for a name that could leave the folder or hide in it."""
    parts = PurePosixPath(name).parts
    hidden = any(not part or part.startswith(".") for part in name.split("/"))
    strange = not name.isprintable() or "\\" in name or name.startswith("/") or hidden
    if strange or len(parts) > 2 or "/".join(parts) != name or name in UNLISTED or len(name.encode()) > MAX_NAME_LENGTH:
        raise UnsafePathError(
            f"file name {ascii(name)[:80]} in the bundle; expected a plain relative name such as trunk.onnx"
        )


def listing_problems(
    folder: Path, manifest: Manifest, required: Sequence[str], may_lack: Sequence[str] = ()
) -> Iterator[tuple[str, BundleError]]:
    """Compare a folder with the files that the manifest lists, and with their sizes. Gives each file that differs.

    The list must have the ``required`` names; those in ``may_lack`` may be missing in the folder.

    Raises:
        BundleError: when the list itself can't be true. Then nothing that it names may be looked at.
    """
    paths = [entry.path for entry in manifest.files]
    if len(set(paths)) < len(paths):
        raise DuplicateNameError("manifest.json lists a file twice, expected each once")
    missing = [name for name in required if name not in paths]
    if missing:
        raise BundleError(f"manifest.json does not list {missing}; the bundle is not complete")
    for entry in manifest.files:
        check_name(entry.path)
        if (problem := _file_problem(folder, entry, may_lack=entry.path in may_lack)) is not None:
            yield entry.path, problem
    listed = {*paths, *UNLISTED}
    for found in _files_in(folder):
        if found not in listed:
            yield (
                found,
                BundleError(
                    f"the bundle holds {ascii(found)[:80]}, which its manifest does not list; remove it or export again"
                ),
            )


def _file_problem(folder: Path, entry: FileInfo, *, may_lack: bool) -> BundleError | None:
    path = folder / entry.path
    if may_lack and not path.is_symlink():
        return None
    if path.is_symlink() or path.parent.is_symlink():
        return LinkError(f"{entry.path} is a link, expected a file of {entry.bytes} bytes")
    if not path.is_file():
        return BundleError(f"{entry.path} is missing; expected a file of {entry.bytes} bytes; copy the bundle again")
    size = path.stat().st_size
    if size != entry.bytes:
        return BundleError(
            f"{entry.path} has {size} bytes, expected {entry.bytes}; it was cut or changed, copy the bundle again"
        )
    return None


def _files_in(folder: Path) -> Iterator[str]:
    """Relative names of all that is no folder, one by one, because there may be any number of them."""
    for path in folder.rglob("*"):
        if path.is_symlink() or not path.is_dir():
            yield path.relative_to(folder).as_posix()


def unpack(archive: Path, folder: Path) -> None:
    """Unpack an uncompressed zip (``.lclb``) into an empty folder, after checking every entry.

    Raises:
        BundleError: when it is no such zip. A hostile one raises one of its named kinds.
    """
    try:
        _check_directory(archive)
        with zipfile.ZipFile(archive) as packed:
            entries = packed.infolist()
            _check_entries(archive, entries)
            for entry in entries:
                target = folder / entry.filename
                target.parent.mkdir(parents=True, exist_ok=True)
                with packed.open(entry) as source, target.open("wb") as file:
                    shutil.copyfileobj(source, file)
    except OSError as error:
        if error.errno not in _NAMES_THAT_CLASH:
            raise
        raise BundleError(f"{archive} is damaged ({error}); expected a .lclb made by lightcl-host export") from error
    except (zipfile.BadZipFile, EOFError, ValueError, NotImplementedError, RuntimeError, OverflowError) as error:
        raise BundleError(
            f"{archive} is not a bundle ({error}); expected a .lclb made by lightcl-host export"
        ) from error


def _check_directory(archive: Path) -> None:
    """Check that the list of entries is small: zipfile reads all of it into memory at once."""
    size = archive.stat().st_size
    with archive.open("rb") as file:
        start = file.read(len(_START_MAGIC))
        file.seek(max(0, size - _END_BYTES))
        end = file.read(_END_BYTES)
    if len(end) < _END_BYTES or not end.startswith(_END_MAGIC):
        if not _START_MAGIC.startswith(start):
            raise zipfile.BadZipFile(f"its {size} bytes are no zip")
        raise BundleError(
            f"{archive} has {size} bytes and no list of entries at its end, expected a .lclb made by lightcl-host "
            "export; it was probably cut short while it was copied: copy it again, and compare what sha256sum says "
            "on both sides"
        )
    entries, directory_bytes = int.from_bytes(end[10:12], "little"), int.from_bytes(end[12:16], "little")
    if entries > MAX_FILES + len(UNLISTED) or directory_bytes > MAX_DIRECTORY_BYTES:
        raise HugeHeaderError(
            f"{archive} lists {entries} entries in {directory_bytes} bytes, expected at most "
            f"{MAX_FILES + len(UNLISTED)} in {MAX_DIRECTORY_BYTES}"
        )


def _check_entries(archive: Path, entries: Sequence[zipfile.ZipInfo]) -> None:
    if len({entry.filename for entry in entries}) < len(entries):
        raise DuplicateNameError(f"{archive} names one twice among its {len(entries)} entries, expected each once")
    total, most = 0, min(MAX_FILE_BYTES, archive.stat().st_size)
    for entry in entries:
        if entry.orig_filename != entry.filename:
            raise UnsafePathError(f"file name {ascii(entry.orig_filename)[:80]} in {archive}; expected a plain name")
        if entry.filename not in UNLISTED:
            check_name(entry.filename)
        kind = entry.external_attr >> 28
        if entry.is_dir() or kind not in (0, 8):
            raise LinkError(f"{entry.filename} in {archive} is not a plain file, expected files only")
        if entry.compress_type != zipfile.ZIP_STORED or entry.compress_size != entry.file_size:
            raise ZipBombError(f"{entry.filename} in {archive} is compressed, expected stored files")
        total += entry.file_size
        if total > most:
            raise ZipBombError(f"{archive} claims more content than its own size; it is damaged or a trap")
