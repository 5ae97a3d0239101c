"""A folder that fills with labelled images, and the batches taken from it. No image is learned twice or lost.

Others drop ``DIR/CLASS/IMAGE``. A file is taken once its size and time have stayed the same for a while. It is then
only renamed, so that after a crash at any point it is in exactly one place:

- ``DIR/.learning/CLASS/IMAGE``: the batch that is being learned;
- ``DIR/.learned/000007/CLASS/IMAGE``: what generation 7 was taught;
- ``DIR/.set-aside/REASON/CLASS/IMAGE``: what can't be read, or was refused.

``DIR/.tries`` counts how often the trainer broke on the present batch, across restarts.

The state knows which batches it has learned: it keeps each task's fingerprint in the generation, and the two change
together. After a crash, a batch that is in a generation is only moved. Any other batch is learned, from its checkpoint
if there is one.
"""

import hashlib
import itertools
import json
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from lightcl_edge.data.image_folders import IMAGE_SUFFIXES, visible_folders
from lightcl_edge.errors import DataError
from lightcl_edge.files.durable import replace_durably
from lightcl_edge.files.strict_json import read_json

LEARNING, LEARNED, SET_ASIDE, TRIES = ".learning", ".learned", ".set-aside", ".tries"


class Spool:
    """A watched folder. A file is whole once it has not changed for ``settle_seconds``.

    Raises DataError when there is no such folder.
    """

    def __init__(self, folder: Path, settle_seconds: float) -> None:
        if not folder.is_dir():
            raise DataError(f"no folder at {folder}; expected one with a sub-folder of images a class")
        self.folder, self._settle = folder, settle_seconds
        self.learning = folder / LEARNING
        self._seen: dict[Path, tuple[tuple[int, int], float]] = {}

    def ready(self, now: float | None = None) -> dict[Path, float]:
        """Whole images that wait: path -> seconds since it was last seen to change, ordered by path."""
        moment = time.monotonic() if now is None else now
        seen: dict[Path, tuple[tuple[int, int], float]] = {}
        for path in self._waiting():
            with suppress(FileNotFoundError):
                about = path.stat()
                state = about.st_size, about.st_mtime_ns
                before = self._seen.get(path)
                seen[path] = before if before is not None and before[0] == state else (state, moment)
        self._seen = seen
        return {path: moment - since for path, (_, since) in seen.items() if moment - since >= self._settle}

    def _waiting(self) -> Iterator[Path]:
        """Image files in class folders; no links, nothing hidden."""
        for folder in visible_folders(self.folder):
            for path in [] if folder.is_symlink() else sorted(folder.iterdir()):
                plain = not path.name.startswith(".") and not path.is_symlink() and path.is_file()
                if plain and path.suffix.lower() in IMAGE_SUFFIXES:
                    yield path

    def strangers(self) -> list[Path]:
        """Files that are never taken: outside class folders, in their sub-folders, or not named as images."""
        fine = set(self._waiting())
        found = (path for path in self.folder.glob("*") if not path.name.startswith("."))
        inside = (path for folder in found for path in ([folder] if folder.is_file() else folder.rglob("*")))
        return sorted(path for path in inside if path.is_file() and not path.name.startswith(".") and path not in fine)

    def waits(self) -> int:
        """How many images wait, whole or not."""
        return sum(1 for _ in self._waiting())

    def has_batch(self) -> bool:
        """Whether a batch is being learned, or was when the last process ended."""
        return self.learning.is_dir() and any(path.is_file() for path in self.learning.rglob("*"))

    def take(self, images: list[Path]) -> None:
        """Move images of :meth:`ready` into the batch; from then on they survive a power cut."""
        for path in images:
            with suppress(FileNotFoundError):  # whoever dropped it took it back
                _move(path, self.learning / path.parent.name)
        self.tidy()
        _sync_all(self.learning)
        for folder in {path.parent for path in images if path.parent.is_dir()}:
            _sync(folder)
        _sync(self.folder)

    def tidy(self) -> None:
        """Drop empty class folders, which a crash before the first rename leaves. A data set with one is refused."""
        for folder in visible_folders(self.learning) if self.learning.is_dir() else []:
            if not folder.is_symlink() and not any(folder.iterdir()):
                folder.rmdir()

    def batch(self) -> list[Path]:
        return sorted(path for path in self.learning.rglob("*") if path.is_file())

    def count_try(self) -> int:
        """Count on disk how often the trainer broke on the present batch; gives the number."""
        names = "\0".join(str(path.relative_to(self.learning)) for path in self.batch())
        batch, tries = hashlib.sha256(os.fsencode(names)).hexdigest(), 0
        with suppress(OSError, ValueError, KeyError, TypeError):
            found = read_json(self.folder / TRIES)
            tries = int(found["tries"]) if found["batch"] == batch else 0
        replace_durably(self.folder / TRIES, json.dumps({"batch": batch, "tries": tries + 1}).encode())
        return tries + 1

    def set_aside(self, images: list[Path], reason: str, why: str | None = None) -> None:
        """Take images out of the batch for a person to look at; ``why`` is noted in ``REASON.txt``."""
        if why is not None:
            (self.folder / SET_ASIDE).mkdir(exist_ok=True)
            with (self.folder / SET_ASIDE / f"{reason}.txt").open("a", encoding="utf-8", errors="replace") as file:
                file.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')}  {len(images)} images: {why}\n")
        for path in images:
            _move(path, self.folder / SET_ASIDE / reason / path.parent.name)
        self.tidy()
        _sync_all(self.folder / SET_ASIDE)
        (self.folder / TRIES).unlink(missing_ok=True)

    def batch_learned(self, generation: int, *, delete: bool) -> None:
        """Move the batch to the folder of the generation that learned it, or delete it."""
        place = _free_name(self.folder / LEARNED / f"{generation:06d}")
        place.parent.mkdir(exist_ok=True)
        os.rename(self.learning, place)  # all of it at once: half a batch would have another fingerprint
        _sync(place.parent)
        _sync(self.folder)
        if delete:
            shutil.rmtree(place)
        (self.folder / TRIES).unlink(missing_ok=True)


def _move(path: Path, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    os.rename(path, _free_name(folder / path.name))


def _free_name(path: Path) -> Path:
    names = (path.with_name(f"{path.stem}-{number}{path.suffix}") for number in itertools.count(1))
    return next(each for each in itertools.chain([path], names) if not each.exists())


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _sync_all(folder: Path) -> None:
    """Sync everything in a folder: images that a camera wrote may not have reached the disk yet."""
    if folder.is_dir():
        for path in folder.rglob("*"):
            _sync(path)
        _sync(folder)
