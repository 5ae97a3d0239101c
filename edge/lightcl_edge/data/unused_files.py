"""The files in a folder of classes that are not learned from, so that nobody believes they were."""

from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from lightcl_edge.console.text import Document, count
from lightcl_edge.data.image_folders import count_other_files, describe_suffixes, image_files, visible_folders


@dataclass
class UnusedFiles:
    """What a folder holds besides the images that are used."""

    files: Counter[str] = field(default_factory=Counter)  # in class folders, not images: number by suffix
    folders: Counter[str] = field(default_factory=Counter)  # inside class folders: number by class
    loose_images: int = 0  # beside the class folders

    def document(self) -> Document:
        """For ``--json``."""
        return {"files": dict(self.files), "folders": dict(self.folders), "loose_images": self.loose_images}

    def note(self) -> str | None:
        """One line for a person; None when every file is used."""
        parts = []
        if total := self.files.total():
            words = "files that are no images" if total > 1 else "file that is no image"
            parts.append(f"{total} {words} ({describe_suffixes(self.files)})")
        if self.folders:
            names = ", ".join(sorted(self.folders)[:3]) + (", ..." if len(self.folders) > 3 else "")
            parts.append(f"{count(self.folders.total(), 'sub-folder')} of {names} not looked into")
        if self.loose_images:
            parts.append(f"{count(self.loose_images, 'image')} beside the class folders")
        return f"not used: {'; '.join(parts)}" if parts else None


def find_unused_files(spec: str) -> UnusedFiles:
    """Look through the folder that a data specification names; every file is used if it names no folder."""
    found = UnusedFiles()
    folder = Path(spec) if Path(spec).exists() else Path(spec.rpartition("@")[0] or spec)
    if not folder.is_dir():
        return found
    with suppress(OSError):  # opening the data set reports it
        for path in visible_folders(folder):
            found.files += count_other_files(path)
            if nested := len(visible_folders(path)):
                found.folders[path.name] = nested
        found.loose_images = len(image_files(folder))
    return found
