"""What lies in a folder of classes and is not learned from, so that nobody believes it was."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from lightcl_edge.console.text import Document, count
from lightcl_edge.data.image_file import CONVERT, IMAGE_SUFFIXES, OTHER_PHOTOS


@dataclass
class LeftOut:
    """What a folder holds besides the images that count.

    Attributes:
        files: of class folders that are no images: number by suffix.
        folders: sub-folders of class folders: number by class.
        loose_images: images beside the class folders.
    """

    files: Counter[str] = field(default_factory=Counter)
    folders: Counter[str] = field(default_factory=Counter)
    loose_images: int = 0

    def document(self) -> Document:
        """For ``--json``."""
        return {"files": dict(self.files), "folders": dict(self.folders), "loose_images": self.loose_images}

    def note(self) -> str | None:
        """One line for a person; None where nothing was left out."""
        parts = []
        if self.files:
            many = self.files.total() > 1
            words = "files that are no images" if many else "file that is no image"
            parts.append(f"{self.files.total()} {words} ({by_kind(self.files)})")
        if self.folders:
            names = ", ".join(sorted(self.folders)[:3]) + (", ..." if len(self.folders) > 3 else "")
            parts.append(f"{count(self.folders.total(), 'sub-folder')} of {names} not looked into")
        if self.loose_images:
            parts.append(f"{count(self.loose_images, 'image')} beside the class folders")
        return f"left out: {'; '.join(parts)}" if parts else None


def by_kind(files: Counter[str]) -> str:
    """Suffixes with their numbers, and what to do about photographs among them.

    Args:
        files: number by suffix.

    Returns:
        Such as ``.heic 3, .txt 1; convert ...``.
    """
    kinds = ", ".join(f"{suffix} {number}" for suffix, number in files.most_common(5))
    more = ", ..." if len(files) > 5 else ""
    return f"{kinds}{more}{CONVERT if OTHER_PHOTOS & set(files) else ''}"


def other_files(folder: Path) -> Counter[str]:
    """Files of a class folder that are no images, by suffix; hidden ones do not count."""
    found = [p.suffix.lower() for p in folder.iterdir() if p.is_file() and not p.name.startswith(".")]
    return Counter(suffix or "without suffix" for suffix in found if suffix not in IMAGE_SUFFIXES)


def left_out(spec: str) -> LeftOut:
    """Look through a folder of classes.

    Args:
        spec: a data specification; what is no folder has nothing left out.

    Returns:
        What is in it besides images of classes.
    """
    found = LeftOut()
    folder = Path(spec) if Path(spec).exists() else Path(spec.rpartition("@")[0] or spec)
    if not folder.is_dir():
        return found
    with suppress(OSError):  # whoever opens the images says what is wrong
        for path in folder.iterdir():
            if path.is_dir() and not path.name.startswith("."):
                found.files += other_files(path)
                nested = sum(p.is_dir() and not p.name.startswith(".") for p in path.iterdir())
                found.folders[path.name] += nested
            elif path.suffix.lower() in IMAGE_SUFFIXES and path.is_file():
                found.loose_images += 1
    found.folders = +found.folders
    return found
