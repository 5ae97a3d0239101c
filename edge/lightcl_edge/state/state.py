"""What a device has learned, as numbered generations. Reading needs no lock; ``state/change.py`` changes them.

``STATE/CURRENT`` names a generation. ``STATE/generations/NNNNNN/`` holds ``head.safetensors``,
``strategy.safetensors``, ``holdout.safetensors``, ``buffer.safetensors``, ``classifier.safetensors``, ``sums/`` with a
file for each class, and ``meta.json`` with their hashes.
``STATE/bundle/`` is the device's own copy of the bundle, and ``STATE/bundle-HASH/`` one that came over the air; each
generation belongs to one. ``STATE/work/`` belongs to the running task, and ``STATE/board.json`` says who this board is
among others. Layout and guarantees: ``docs/reference/state.md``.
"""

import re
from contextlib import suppress
from pathlib import Path

from lightcl_edge.bundle.bundle import BUFFER, Bundle
from lightcl_edge.bundle.manifest import MANIFEST
from lightcl_edge.errors import BundleError, StateError
from lightcl_edge.files.plain import FileTime, file_time, sha256_of
from lightcl_edge.state.exported_classes import base_generation
from lightcl_edge.state.generation import CLASSIFIER, HOLDOUT, KEPT_GENERATIONS, META, STRATEGY, Generation, Meta
from lightcl_edge.state.generation_files import read_generation, read_meta, refuse_other_format
from lightcl_edge.state.pointer import MAX_NUMBER, Pointer, read_pointer
from lightcl_edge.state.trust import read_trust
from lightcl_edge.state.updates import read_updates

#: A process that learns for months must not remember every generation.
_REMEMBERED_METAS = 2 * KEPT_GENERATIONS
_GENERATION_NAME = re.compile(r"^\d{6}$")


class State:
    """A state directory, for reading. To change it use :func:`lightcl_edge.state.change.changing`.

    Args:
        folder: the directory.
        opened: its own copy of the bundle as this process opened it before; used while that is still the state's.
    """

    def __init__(self, folder: Path, opened: Bundle | None = None) -> None:
        self.folder, self._opened = folder, opened
        self._metas: dict[int, tuple[FileTime, Meta]] = {}  # as they were when they were read
        self.work = folder / "work"
        self.generations = folder / "generations"

    @property
    def bundle_folder(self) -> Path:
        """Where the bundle of the generation in use lies."""
        with suppress(StateError):
            return self.bundle_folder_of(self.current_number())
        return next(iter(self.bundle_folders()), self.folder / "bundle")

    def bundle_folders(self) -> list[Path]:
        """All bundles that are kept, the first one first."""
        return [
            path for path in (self.folder / "bundle", *sorted(self.folder.glob("bundle-*[0-9a-f]"))) if path.is_dir()
        ]

    def bundle_folder_of(self, number: int) -> Path:
        """Where the bundle of a generation lies; generation 0 is the oldest bundle.

        Raises StateError when the generation's record is damaged.
        """
        first = self.folder / "bundle"
        if not number and not first.is_dir():
            number = next(iter(self.numbers()), 0)
        if not number:
            return first
        named = self.folder / bundle_name(self.meta(number).bundle_identity)
        return named if named.is_dir() else first

    def bundle_of(self, number: int, bundle: Bundle | None = None) -> Bundle:
        """The bundle of a generation: the one that is open already, if it is that."""
        folder = self.bundle_folder_of(number)
        if bundle is not None and (bundle.folder == folder or _identity(folder) in (None, bundle.identity)):
            return bundle
        return self._open(folder)

    def exists(self) -> bool:
        """Whether there is a state with its own copy of a bundle here."""
        return self.bundle_folder.is_dir()

    def bundle(self) -> Bundle:
        """The state's own copy of the bundle.

        Raises:
            StateError: when there is no state here, or its bundle is not the one that was accepted as signed.
            BundleError: when the copy is damaged.
        """
        if not self.exists():
            raise StateError(
                f"no state at {self.folder}; check the path, or make one with lightcl-edge train --bundle B --state S"
            )
        bundle, trust = self.own_bundle(), read_trust(self.folder)
        known = () if trust is None else (trust.identity, *read_updates(self.folder).replaced)
        if trust is not None and bundle.identity not in known:
            raise StateError(
                f"the state at {self.folder} accepted the signed bundle {trust.identity[:12]}..., found "
                f"{bundle.identity[:12]}...; train with the signed bundle again (--bundle), or restore a copy"
            )
        return bundle

    def own_bundle(self) -> Bundle:
        """As :meth:`bundle`, without the check that it was accepted as signed."""
        return self._open(self.bundle_folder)

    def _open(self, folder: Path) -> Bundle:
        opened = self._opened
        if opened and opened.folder == folder and opened.identity == _identity(folder):
            return opened
        try:
            return Bundle.open(folder, may_lack=(BUFFER,))
        except BundleError as error:
            if numbers := self.numbers_on_disk():  # an older state has an older bundle, which can't be read either
                refuse_other_format(self.place(numbers[-1]))
            raise type(error)(
                f"{error}. It is the state's own copy, {folder}: "
                "copy the file there, in its place, from the bundle that the state was made from"
            ) from error

    def keep_open(self) -> None:
        """Use the state's bundle as it is open now from now on: its files need no second check."""
        self._opened = self.own_bundle()

    def bundle_identity(self) -> str | None:
        """Which bundle the state's copy is, without opening it; None when there is none yet."""
        return _identity(self.bundle_folder)

    def numbers(self) -> list[int]:
        """Numbers of the committed generations on disk, ascending."""
        return self.committed(read_pointer(self.folder))

    def numbers_on_disk(self) -> list[int]:
        """As :meth:`numbers`, with a generation whose commit a crash cut short."""
        with suppress(OSError):
            names = [path.name for path in self.generations.iterdir() if _GENERATION_NAME.match(path.name)]
            return sorted(int(name) for name in names if int(name) > 0)
        return []

    def committed(self, pointer: Pointer | None) -> list[int]:
        """As :meth:`numbers`, for a ``CURRENT`` that was read already."""
        newest = MAX_NUMBER if pointer is None else pointer.newest
        return [number for number in self.numbers_on_disk() if number <= newest]

    def place(self, number: int) -> Path:
        """The folder of a generation."""
        return self.generations / f"{number:06d}"

    def current_number(self) -> int:
        """The generation in use: what ``CURRENT`` names, else the newest whole one, or 0 before anything was learned.

        Raises:
            StateError: when ``CURRENT`` is damaged and no generation is whole.
        """
        pointer = read_pointer(self.folder)
        numbers = self.committed(pointer)
        if pointer is not None and (pointer.current == 0 or pointer.current in numbers):
            return pointer.current
        if numbers:
            for number in reversed(numbers):
                if self.is_whole(number):
                    return number
            raise StateError(
                f"{self.folder}: CURRENT is damaged and so is each of the generations {numbers}; restore a copy of the "
                "state, or begin anew with another --state"
            )
        return 0

    def kept_bytes(self) -> int:
        """Size of what the current generation loads besides the head; the sums are read class by class."""
        place, found = self.place(self.current_number()), 0
        for name in (STRATEGY, HOLDOUT, BUFFER, CLASSIFIER):
            with suppress(OSError):  # generation 0 has no files
                found += (place / name).stat().st_size
        return found

    def is_whole(self, number: int, bundle: Bundle | None = None) -> bool:
        """Whether all files of a generation that predictions need are there and have their hashes."""
        try:
            read_generation(self.place(number), self.meta(number), self.bundle_of(number, bundle))
        except StateError:
            return False
        return True

    def meta(self, number: int) -> Meta:
        """The record of a generation, or a StateError when it is missing or damaged."""
        path = self.place(number) / META
        now, known = file_time(path), self._metas.get(number)
        if known is not None and known[0] == now:
            return known[1]
        meta = read_meta(path.parent, number)
        self._metas[number] = now, meta
        if len(self._metas) > _REMEMBERED_METAS:
            self._metas.pop(next(iter(self._metas)))
        return meta

    def read(self, number: int | None = None, bundle: Bundle | None = None) -> Generation:
        """Read a generation and check every file against its hash; 0 is the bundle as exported.

        None is the current generation, even if another process commits or forgets meanwhile. Who has the state's bundle
        open already hands it in.

        Raises:
            StateError: when a file is missing or damaged.
        """
        while number is None:
            chosen = self.current_number()
            try:
                return self.read(chosen, bundle)
            except StateError:
                if self.current_number() == chosen:
                    raise
        if number == 0:
            return base_generation(self.folder, self.bundle_of(0, bundle or self.bundle()))
        return read_generation(self.place(number), self.meta(number), self.bundle_of(number, bundle))

    def back_from(self, number: int) -> int:
        """Where to go back to from a generation, which may be damaged: the one it was learned from.

        If that is gone or damaged, it is the newest older one that is whole, or 0.
        """
        bundle, parent = self.own_bundle(), number
        with suppress(StateError):
            parent = self.meta(number).parent
            if parent == 0 or self.is_whole(parent, bundle):
                return parent
        older = [each for each in self.numbers() if each < min(number, parent + 1)]
        return max((each for each in older if self.is_whole(each, bundle)), default=0)

    def newest(self) -> int:
        """The highest number of a committed generation: what lies on the disk counts, not what ``CURRENT`` claims.

        The newest generation is never dropped without a newer one, so no number is given twice.
        """
        return max([0, *self.numbers()])

    def next_number(self) -> int:
        """A number that no committed generation ever had, or a StateError when all are used up."""
        number = self.newest() + 1
        if number > MAX_NUMBER:
            raise StateError(f"{self.folder} is at generation {number - 1}, the last there can be; begin a new state")
        return number


def bundle_name(identity: str) -> str:
    """The folder of a bundle that came over the air."""
    return f"bundle-{identity[:16]}"


def _identity(folder: Path) -> str | None:
    """Which bundle a folder holds, without opening it; None when there is none."""
    with suppress(OSError):
        return sha256_of(folder / MANIFEST)
    return None
