"""Pictures that have a label and wait to be learned. What was acknowledged survives a power cut."""

from __future__ import annotations

import io
import threading
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
from PIL import Image

from lightcl_edge.data.class_names import canonical
from lightcl_edge.data.image_folders import is_ignored
from lightcl_edge.data.region import WHOLE, Region, crop
from lightcl_edge.data.spool import LEARNED, Spool
from lightcl_edge.errors import DataError, UsageError
from lightcl_edge.files.durable import fsync_folder, make_folders, remove, remove_tree, rename, write_durably
from lightcl_edge.serve.records.fields import CLASS_NAME
from lightcl_edge.serve.records.teaching import Taught, TaughtPicture
from lightcl_edge.serve.sources.jpeg import clean

#: So many pictures may wait; a task with more would take too long.
MOST_PICTURES = 2000
#: How Portable Network Graphics begin.
_PNG = b"\x89PNG"


class FullError(UsageError):
    """So many pictures wait that no more are taken."""


class TaughtPictures:
    """A spool with one folder a class, filled by the page and emptied by learning."""

    def __init__(self, folder: Path) -> None:
        make_folders(folder)
        fsync_folder(folder.parent)
        self._lock = threading.RLock()
        self.spool = Spool(folder, settle_seconds=0.0)
        for part in folder.glob("*/.*.part"):  # of a picture that was never acknowledged
            remove(part)
        self._places = {path.stem: path for path in self.spool.ready()}
        self._last = max((int(name) for name in self._places if name.isdecimal()), default=0)

    def add(self, class_name: str, picture: bytes, region: Region | None = None) -> str:
        """Keep a picture under a class; gives its id once it is on the disk.

        Raises DataError when it is no readable picture or the name can't be a class's, FullError when too many wait,
        and OSError when the disk fails.
        """
        class_name = checked_class_name(class_name)
        found = _cropped(picture, region) if region not in (None, WHOLE) else clean(picture, "the picture")
        with self._lock:
            if len(self._places) >= MOST_PICTURES:
                raise FullError(f"{MOST_PICTURES} pictures wait already; learn them or remove some first")
            self._last = max(self._last + 1, time.time_ns())
            name = f"{self._last:020d}"
            self._places[name] = self._write(class_name, name, found)
            return name

    def _write(self, class_name: str, name: str, picture: bytes) -> Path:
        folder = self._folder_of(class_name)
        part, path = folder / f".{name}.part", folder / f"{name}.{'png' if picture.startswith(_PNG) else 'jpg'}"
        try:
            write_durably(part, picture)
            rename(part, path)
            fsync_folder(folder)
        except OSError:
            with suppress(OSError):
                remove(part)
            raise
        return path

    def _folder_of(self, class_name: str) -> Path:
        folder = self.spool.folder / class_name
        if not folder.is_dir():
            make_folders(folder)
            fsync_folder(self.spool.folder)
        return folder

    def listed(self) -> Taught:
        """All of them, oldest first, and how many each class has."""
        with self._lock:
            places = sorted(self._places.items())
        pictures, classes = [], dict[str, int]()
        for name, path in places:
            with suppress(FileNotFoundError):
                pictures.append(TaughtPicture(name, path.parent.name, path.stat().st_size))
                classes[path.parent.name] = classes.get(path.parent.name, 0) + 1
        return Taught(pictures, dict(sorted(classes.items())))

    def counts(self) -> dict[str, int]:
        """How many pictures of each class wait."""
        with self._lock:
            names = sorted(path.parent.name for path in self._places.values())
        return {name: names.count(name) for name in dict.fromkeys(names)}

    def read(self, name: str) -> bytes | None:
        """A picture's file; None when there is none of this id."""
        path = self._places.get(name)
        with suppress(FileNotFoundError):
            return None if path is None else path.read_bytes()
        return None

    def drop(self, names: list[str]) -> int:
        """Remove pictures; gives how many there were."""
        with self._lock:
            found = [self._places.pop(name) for name in names if name in self._places]
            for path in found:
                remove(path)
            self._sync({path.parent for path in found})
            return len(found)

    def relabel(self, names: list[str], class_name: str) -> int:
        """Give pictures another class; gives how many there were."""
        class_name = checked_class_name(class_name)
        with self._lock:
            found = [name for name in names if name in self._places]
            folder = self._folder_of(class_name)
            touched = {folder}
            for name in found:
                old = self._places[name]
                new = folder / old.name
                if old != new:
                    rename(old, new)
                    touched.add(old.parent)
                self._places[name] = new
            self._sync(touched)
            return len(found)

    def rename(self, old: str, new: str) -> None:
        """A class has another name now, and learned pictures that were kept have it too."""
        with self._lock:
            names = [name for name, path in self._places.items() if path.parent.name == old]
            if names:
                self.relabel(names, new)
            for folder in (self.spool.folder / LEARNED).glob("*/*"):
                if folder.name == old and not (target := folder.with_name(new)).exists():
                    rename(folder, target)
                    fsync_folder(folder.parent)

    def erase(self, class_name: str) -> None:
        """Remove every picture of a class, learned ones that were kept too."""
        with self._lock:
            self.drop([name for name, path in self._places.items() if path.parent.name == class_name])
            for folder in (self.spool.folder / LEARNED).glob("*/*"):
                if folder.name == class_name:
                    remove_tree(folder)
                    fsync_folder(folder.parent)

    def _sync(self, folders: set[Path]) -> None:
        for folder in folders:
            fsync_folder(folder)
            with suppress(OSError):
                folder.rmdir()  # when it is empty

    def take(self) -> int:
        """Make a batch of all that wait; gives how many."""
        with self._lock:
            ready = list(self.spool.ready())
            self.spool.take(ready)
            self._places.clear()
            for folder in {path.parent for path in ready}:
                with suppress(OSError):
                    folder.rmdir()  # the next task's data must have no class without pictures
            return len(ready)

    def put_back(self) -> None:
        """The batch was not learned: its pictures wait again."""
        with self._lock:
            for path in self.spool.batch():
                place = self._folder_of(path.parent.name) / path.name
                rename(path, place)
                fsync_folder(place.parent)
            self.spool.tidy()
            self._places = {path.stem: path for path in self.spool.ready()}


def checked_class_name(name: str) -> str:
    """The one form of a class's name. Raises DataError when a folder can't have it, or a class."""
    found = canonical(name)
    if not CLASS_NAME.holds(found) or is_ignored(found):
        raise DataError(f"the class name is {name[:80]!a}, expected {CLASS_NAME.expected}")
    return found


def _cropped(picture: bytes, region: Region | None) -> bytes:
    """A region as a file without loss, so that what is learned is what was predicted."""
    out = io.BytesIO()
    pixels = np.ascontiguousarray(crop(picture, region or WHOLE))
    Image.fromarray(pixels).save(out, "PNG", compress_level=1)
    return out.getvalue()
