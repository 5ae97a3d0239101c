"""What a folder of classes holds that is not used, so that nobody believes it was."""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from lightcl_edge.console.text import Document, count, first_names
from lightcl_edge.data.image_folders import describe_suffixes, look_into


@dataclass
class LeftOut:
    """What is in a folder besides the images that are used."""

    files: Counter[str] = field(default_factory=Counter)  # in class folders, not images: number by suffix
    folders: Counter[str] = field(default_factory=Counter)  # inside class folders: number by class
    loose_images: int = 0  # beside the class folders
    loose_files: Counter[str] = field(default_factory=Counter)  # other files there: number by suffix
    empty_classes: list[str] = field(default_factory=list)  # folders without an image
    unreadable: dict[str, str] = field(default_factory=dict)  # folders, and files that may not be moved: name -> why

    def images_in(self, folder: Path) -> list[Path]:
        """The images of a class's folder. What else it holds is noted, and when it can't be read."""
        try:
            found = look_into(folder)
        except OSError as error:
            self.unreadable[folder.name] = error.strerror or str(error)
            return []
        self.files += found.others
        if found.folders:
            self.folders[folder.name] = len(found.folders)
        if not found.images:
            self.empty_classes.append(folder.name)
        return found.images

    def document(self) -> Document:
        """For ``--json``."""
        return {
            "files": dict(self.files),
            "folders": dict(self.folders),
            "loose_images": self.loose_images,
            "loose_files": dict(self.loose_files),
            "empty_classes": self.empty_classes,
            "unreadable": self.unreadable,
        }

    def note(self) -> str | None:
        """One line for a person; None when everything is used."""
        parts = []
        if total := self.files.total():
            words = "files that are no images" if total > 1 else "file that is no image"
            parts.append(f"{total} {words} ({describe_suffixes(self.files)})")
        if self.folders:
            names = ", ".join(sorted(self.folders)[:3]) + (", ..." if len(self.folders) > 3 else "")
            parts.append(f"{count(self.folders.total(), 'sub-folder')} of {names} not looked into")
        if self.loose_images:
            parts.append(f"{count(self.loose_images, 'image')} beside the class folders")
        if total := self.loose_files.total():
            parts.append(f"{count(total, 'file')} beside the class folders ({describe_suffixes(self.loose_files)})")
        if self.empty_classes:
            one = len(self.empty_classes) == 1
            words = "the class folder {}, which holds" if one else "the class folders {}, which hold"
            parts.append(f"{words.format(first_names(self.empty_classes))} no images")
        parts += [f"{name}, which can't be read ({why})" for name, why in list(self.unreadable.items())[:3]]
        if (more := len(self.unreadable) - 3) > 0:
            parts.append(f"{more} more that can't be read")
        return f"not used: {'; '.join(parts)}" if parts else None
