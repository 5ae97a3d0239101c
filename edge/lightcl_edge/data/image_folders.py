"""Which files and folders of a folder count: one rule for all commands, on the device and on the host.

Imports no decoder, so that a process that only waits stays small.
"""

import errno
import os
from collections import Counter
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

IMAGE_SUFFIXES = frozenset(
    ".png .jpg .jpeg .jpe .jfif .mpo .bmp .webp .gif .tif .tiff .ppm .pgm .pbm .pnm".split()  # noqa: SIM905
)
#: What to call such files to a person.
FORMAT_NAMES = "PNG, JPEG, WebP, BMP, TIFF, GIF or PPM"
#: Photographs of telephones. HEIC is read where the extra ``heif`` is installed, AVIF is not.
HEIF_SUFFIXES = frozenset({".heic", ".heif", ".hif"})
OTHER_PHOTOS = HEIF_SUFFIXES | {".avif"}
CONVERT = (
    "; convert HEIC and AVIF photos to JPEG, for example with heif-convert PHOTO.heic PHOTO.jpg, or install "
    "lightcl-edge[heif], which reads HEIC"
)
#: What systems and file servers leave in folders; compared in small letters.
_JUNK = frozenset(
    {
        *("__macosx", "system volume information", "$recycle.bin", "recycler", "lost+found", "lost.dir", "found.000"),
        *("@eadir", "#recycle", "@recycle", "@recently-snapshot", "network trash folder", "temporary items"),
        *("thumbs.db", "ehthumbs.db", "desktop.ini"),
    }
)


def is_ignored(name: str) -> bool:
    """Whether a file or folder of this name is never looked at: hidden ones, and what a system leaves behind."""
    return name.startswith(".") or name.lower() in _JUNK


@lru_cache(maxsize=1)
def reads_heif() -> bool:
    """Whether the decoder of HEIC photographs is installed; it is imported only with the first of them."""
    return find_spec("pillow_heif") is not None


def is_image_name(name: str) -> bool:
    suffix = Path(name).suffix.lower()
    return not is_ignored(name) and (suffix in IMAGE_SUFFIXES or (suffix in HEIF_SUFFIXES and reads_heif()))


@dataclass
class FolderContent:
    """What a folder holds, in order of names."""

    images: list[Path] = field(default_factory=list)  # files that are named as images
    folders: list[Path] = field(default_factory=list)
    others: Counter[str] = field(default_factory=Counter)  # other files: number by suffix


def look_into(folder: Path) -> FolderContent:
    """What a folder holds that is not ignored. Raises OSError when it can't be read."""
    names = sorted(os.listdir(folder))  # noqa: PTH208 - most entries need no Path
    if not os.access(folder, os.X_OK):  # its names could be listed, but nothing in it opened
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(folder))
    found = FolderContent()
    for name in names:
        path = folder / name
        if is_ignored(name):
            continue
        if os.path.isdir(path):  # noqa: PTH112 - False, not an error, for what can't be looked at
            found.folders.append(path)
        elif os.path.isfile(path):  # noqa: PTH113
            if is_image_name(name):
                found.images.append(path)
            else:
                found.others[path.suffix.lower() or "without suffix"] += 1
    return found


def describe_suffixes(files: Counter[str]) -> str:
    """Such as ``.heic 3, .txt 1; convert HEIC ...``."""
    kinds = ", ".join(f"{suffix} {number}" for suffix, number in files.most_common(5))
    more = ", ..." if len(files) > 5 else ""
    return f"{kinds}{more}{CONVERT if OTHER_PHOTOS & set(files) else ''}"
