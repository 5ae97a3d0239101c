"""Which files of a folder count as images. Imports no decoder, so that a process that only waits stays small."""

from collections import Counter
from pathlib import Path

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".webp", ".ppm", ".gif", ".tif", ".tiff"})
#: What to call such files to a person.
FORMAT_NAMES = "PNG, JPEG, WebP, BMP, TIFF, GIF or PPM"
#: Photographs of telephones that no decoder here reads.
OTHER_PHOTOS = frozenset({".heic", ".heif", ".avif"})
CONVERT = "; convert HEIC and AVIF photos to JPEG, for example with heif-convert PHOTO.heic PHOTO.jpg"


def visible_folders(folder: Path) -> list[Path]:
    """The sub-folders that are not hidden, in order."""
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def image_files(folder: Path) -> list[Path]:
    """The files of a folder that are named as images, in order."""
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file())


def count_other_files(folder: Path) -> Counter[str]:
    """The number of files that are not named as images, by suffix. Hidden files do not count."""
    found = [path.suffix.lower() for path in folder.iterdir() if path.is_file() and not path.name.startswith(".")]
    return Counter(suffix or "without suffix" for suffix in found if suffix not in IMAGE_SUFFIXES)


def describe_suffixes(files: Counter[str]) -> str:
    """Such as ``.heic 3, .txt 1; convert HEIC ...``."""
    kinds = ", ".join(f"{suffix} {number}" for suffix, number in files.most_common(5))
    more = ", ..." if len(files) > 5 else ""
    return f"{kinds}{more}{CONVERT if OTHER_PHOTOS & set(files) else ''}"
