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

import errno
import hashlib
import itertools
import json
import os
import shutil
import time
from contextlib import suppress
from pathlib import Path

from lightcl_edge.data.image_folders import look_into
from lightcl_edge.data.left_out import LeftOut
from lightcl_edge.errors import DataError
from lightcl_edge.files.durable import fsync_folder, replace_durably
from lightcl_edge.files.settling_files import SettlingFiles
from lightcl_edge.files.strict_json import read_json

LEARNING, LEARNED, SET_ASIDE, TRIES = ".learning", ".learned", ".set-aside", ".tries"


class Spool:
    """A watched folder. A file is whole once it has not changed for ``settle_seconds``.

    Raises DataError when there is no such folder.
    """

    def __init__(self, folder: Path, settle_seconds: float) -> None:
        if not folder.is_dir():
            raise DataError(f"no folder at {folder}; expected one with a sub-folder of images a class")
        self.folder, self._settling = folder, SettlingFiles(settle_seconds)
        self.learning = folder / LEARNING
        self.left_out = LeftOut()  # at the last look
        self._stuck: dict[Path, str] = {}  # what could not be moved, and why

    def ready(self, now: float | None = None) -> dict[Path, float]:
        """Whole images that wait: path -> seconds since it was last seen to change, ordered by path."""
        return self._settling.whole(self._waiting(), now)

    def _waiting(self) -> list[Path]:
        """Image files in class folders; no links. ``left_out`` then says what else there is."""
        whole, self.left_out = look_into(self.folder), LeftOut()
        self.left_out.loose_images, self.left_out.loose_files = len(whole.images), whole.others
        images = [
            path for folder in whole.folders if not folder.is_symlink() for path in self.left_out.images_in(folder)
        ]
        self.left_out.empty_classes.clear()  # their images were learned
        return [path for path in images if not path.is_symlink() and self._may_take(path)]

    def _may_take(self, path: Path) -> bool:
        reason = self._stuck.get(path)
        if not os.access(path.parent, os.W_OK):
            self.left_out.unreadable[path.parent.name] = "files can't be moved out of it: Permission denied"
            return False
        if reason is None and not os.access(path, os.R_OK):
            reason = os.strerror(errno.EACCES)
        if reason is not None:
            self.left_out.unreadable[f"{path.parent.name}/{path.name}"] = reason
        return reason is None

    def waits(self) -> int:
        """How many images wait, whole or not."""
        return len(self._waiting())

    def has_batch(self) -> bool:
        """Whether a batch is being learned, or was when the last process ended."""
        return self.learning.is_dir() and any(path.is_file() for path in self.learning.rglob("*"))

    def take(self, images: list[Path]) -> None:
        """Move images of :meth:`ready` into the batch; from then on they survive a power cut."""
        for path in images:
            (self.learning / path.parent.name).mkdir(parents=True, exist_ok=True)
            try:
                _move(path, self.learning / path.parent.name)
            except FileNotFoundError:
                pass  # whoever dropped it took it back
            except PermissionError as error:  # of another owner, in a folder where only owners may move files
                self._stuck[path] = str(error.strerror)
        self.tidy()
        _sync_all(self.learning)
        for folder in {path.parent for path in images if path.parent.is_dir()}:
            fsync_folder(folder)
        fsync_folder(self.folder)

    def tidy(self) -> None:
        """Drop empty class folders, which a crash before the first rename leaves."""
        for folder in look_into(self.learning).folders if self.learning.is_dir() else []:
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
        fsync_folder(place.parent)
        fsync_folder(self.folder)
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
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except PermissionError:
        return  # it is set aside as unreadable
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _sync_all(folder: Path) -> None:
    """Sync everything in a folder: images that a camera wrote may not have reached the disk yet."""
    if folder.is_dir():
        for path in folder.rglob("*"):
            (fsync_folder if path.is_dir() else _sync)(path)
        fsync_folder(folder)
