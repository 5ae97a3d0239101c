"""Labelled images: from folders, from arrays, or a part of another set."""

from __future__ import annotations

import hashlib
import json
import os
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lightcl_edge.bundle.manifest import InputInfo
from lightcl_edge.console.text import first_names
from lightcl_edge.data.class_names import canonical
from lightcl_edge.data.decoding import ByteImage, decode, deep_range, open_image
from lightcl_edge.data.grey_range import GreyRange, joined
from lightcl_edge.data.image_folders import FORMAT_NAMES, FolderContent, describe_suffixes, look_into
from lightcl_edge.data.left_out import LeftOut
from lightcl_edge.errors import DataError
from lightcl_edge.files.plain import content_digest
from lightcl_edge.files.strict_json import read_json

#: The most images that are looked at to find the range of grey.
_SURVEYED = 256
#: In a folder of classes.
ORDER = ".order"


class Dataset(ABC):
    """Labelled images, read one at a time."""

    classes: list[str]
    labels: NDArray[np.int64]  # index into ``classes`` of each image, shape (n,)
    memory_limit_bytes: int | None = None  # as decoding takes it
    grey_range: GreyRange | None = None  # what becomes black and white in images of more than 8 bits
    left_out: LeftOut | None = None  # what lies beside the images; None when they are no files
    notes: Sequence[str] = ()  # what a person should know about how the data were read

    def all_notes(self) -> list[str]:
        """What to tell a person before the images are used."""
        return [note for note in (*self.notes, self.left_out.note() if self.left_out else None) if note]

    def __len__(self) -> int:
        return len(self.labels)

    @abstractmethod
    def name(self, index: int) -> str:
        """What to call the image in a message: a path, or a position in an array."""

    @abstractmethod
    def open(self, index: int) -> Image.Image:
        """The image as Pillow sees it; a file is not decoded yet. DataError when it is not a readable image."""

    @abstractmethod
    def content(self, index: int) -> bytes:
        """Bytes that are equal for equal images, whatever they are called."""

    def file_name(self, _index: int) -> bytes:
        """The name of the image's file; empty when there is no file."""
        return b""

    def image(self, index: int) -> ByteImage:
        """The whole image, RGB, shape ``(height, width, 3)``. DataError when it is not a readable image."""
        return decode(self.open(index), self.name(index), None, self.memory_limit_bytes, self.grey_range)

    def load(self, index: int, info: InputInfo) -> ByteImage:
        """The image at the trunk's input size, RGB, shape ``(info.height, info.width, 3)``. DataError as above."""
        return decode(self.open(index), self.name(index), info, self.memory_limit_bytes, self.grey_range)

    def survey_grey(self) -> GreyRange | None:
        """The range of the images of more than 8 bits, from at most 256 images; None when there are none of these."""
        found = []
        for index in range(0, len(self), -(-len(self) // _SURVEYED)):
            with suppress(DataError):  # told when the image is used
                found.append(deep_range(self.open(index), self.name(index), self.memory_limit_bytes))
        return joined(each for each in found if each is not None)

    def subset(self, indices: Sequence[int] | NDArray[np.int64], classes: Sequence[str]) -> Dataset:
        """The images at ``indices``; their labels are renumbered to ``classes``, which names all of theirs."""
        return _Subset(self, np.asarray(indices, np.int64), list(classes))


@dataclass(frozen=True)
class DatasetIdentity:
    """What tells data sets, and the images in them, apart."""

    fingerprint: str  # a hash of classes, labels, file names and contents
    marks: list[int]  # for each image 64 bits of its content's hash, the same in any set and under any name


def identify(dataset: Dataset) -> DatasetIdentity:
    """Read every image once and hash it."""
    digest = hashlib.sha256(json.dumps(dataset.classes).encode())
    digest.update(np.ascontiguousarray(dataset.labels, "<i8").tobytes())
    marks = []
    for index in range(len(dataset)):
        content = dataset.content(index)
        digest.update(dataset.file_name(index))
        digest.update(content)
        marks.append(int.from_bytes(hashlib.sha256(content).digest()[:8], "little"))
    return DatasetIdentity(digest.hexdigest(), marks)


class _Subset(Dataset):
    def __init__(self, whole: Dataset, indices: NDArray[np.int64], classes: list[str]) -> None:
        self._whole, self._indices, self.classes = whole, indices, classes
        self.left_out, self.notes = whole.left_out, whole.notes
        position = {name: row for row, name in enumerate(classes)}
        self.labels = np.array([position[whole.classes[whole.labels[i]]] for i in indices], np.int64)

    def name(self, index: int) -> str:
        return self._whole.name(int(self._indices[index]))

    def open(self, index: int) -> Image.Image:
        return self._whole.open(int(self._indices[index]))

    def content(self, index: int) -> bytes:
        return self._whole.content(int(self._indices[index]))

    def file_name(self, index: int) -> bytes:
        return self._whole.file_name(int(self._indices[index]))


class FolderDataset(Dataset):
    """A folder with one sub-folder a class. Sub-folders without images, or that can't be read, are passed over.

    The classes are in order of their names, or as the file ``.order`` lists them in JSON.

    Raises DataError when it is missing, can't be read, or no sub-folder holds an image.
    """

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            found = f"{folder} is a file" if folder.is_file() else f"no data at {folder}"
            raise DataError(f"{found}; expected a folder with one sub-folder a class, or an .npz file")
        whole, self.left_out = _look(folder), LeftOut()
        if not whole.folders:
            loose = len(whole.images)
            found = f"{loose} images and no sub-folders" if loose else "no sub-folders"
            raise DataError(f"{folder} has {found}; expected a sub-folder for each class, named after it")
        files_of = dict[str, list[Path]]()
        for path in whole.folders:
            if images := self.left_out.images_in(path):
                files_of.setdefault(canonical(path.name), []).extend(images)
        if not files_of:
            raise DataError(_no_images(folder, self.left_out))
        self.left_out.loose_images, self.left_out.loose_files = len(whole.images), whole.others
        order = _order(folder)
        files_of = {name: files_of[name] for name in sorted(files_of, key=lambda name: order.get(name, len(order)))}
        self.classes = list(files_of)
        self.paths = [path for files in files_of.values() for path in files]
        self.labels = np.repeat(np.arange(len(files_of), dtype=np.int64), [len(files) for files in files_of.values()])

    def name(self, index: int) -> str:
        """The image's path."""
        return str(self.paths[index])

    def open(self, index: int) -> Image.Image:
        return open_image(self.paths[index])

    def content(self, index: int) -> bytes:
        """A hash of the file's content; the same for all files that can't be read."""
        with suppress(OSError):
            return content_digest(self.paths[index])
        return b"unreadable"

    def file_name(self, index: int) -> bytes:
        """The name and a zero byte."""
        return os.fsencode(self.paths[index].name) + b"\0"


class ArrayDataset(Dataset):
    """Images in memory: uint8, shape ``(n, h, w, 3)`` or ``(n, h, w)`` for grey ones; labels are numbers or text.

    Raises DataError when shapes or types do not fit.
    """

    def __init__(self, images: NDArray[np.uint8], labels: NDArray[np.generic], origin: str) -> None:
        if images.dtype != np.uint8 or images.ndim not in (3, 4) or (images.ndim == 4 and images.shape[3] != 3):
            found = f"{images.dtype} of shape {images.shape}"
            raise DataError(f"{origin}: x is {found}; expected uint8 of shape (n, h, w) or (n, h, w, 3)")
        if labels.shape != images.shape[:1] or labels.dtype.kind not in "iuUS":
            found = f"{labels.dtype} of shape {labels.shape}"
            raise DataError(f"{origin}: y is {found}; expected {len(images)} class numbers or names")
        if 0 in images.shape[1:3]:
            raise DataError(f"{origin}: x has shape {images.shape}, expected images of at least one pixel")
        if not len(images):
            raise DataError(f"{origin} holds no images; expected at least one")
        if labels.dtype.kind == "S":
            try:
                labels = np.char.decode(labels.astype(np.bytes_), "utf-8")
            except UnicodeDecodeError as error:
                raise DataError(f"{origin}: y holds bytes that are no UTF-8 ({error}); expected text") from error
        values, rows = np.unique(labels, return_inverse=True)
        names = [canonical(str(value)) for value in values.tolist()]
        self.classes = list(dict.fromkeys(names))
        self.labels = np.array([self.classes.index(name) for name in names], np.int64)[rows]
        self._images, self._origin = images, origin

    def name(self, index: int) -> str:
        """The array's name and the position in it."""
        return f"{self._origin}[{index}]"

    def open(self, index: int) -> Image.Image:
        return Image.fromarray(self._images[index])

    def content(self, index: int) -> bytes:
        """The pixels themselves."""
        pixels: bytes = self._images[index].tobytes()
        return pixels


def _order(folder: Path) -> dict[str, int]:
    with suppress(OSError, ValueError, TypeError):
        return {str(name): row for row, name in enumerate(read_json(folder / ORDER))}
    return {}


def _look(folder: Path) -> FolderContent:
    try:
        return look_into(folder)
    except OSError as error:
        raise DataError(f"the folder {folder} can't be read: {error.strerror}; check its owner and rights") from error


def _no_images(folder: Path, left_out: LeftOut) -> str:
    """What is in the class folders instead of images."""
    others = f"; found files of other kinds: {describe_suffixes(left_out.files)}" if left_out.files else ""
    closed = "".join(f"; {name} can't be read ({why})" for name, why in left_out.unreadable.items())
    empty = f": {first_names(left_out.empty_classes)}" if left_out.empty_classes else ""
    return (
        f"no class folder in {folder} holds images ({FORMAT_NAMES} files){empty}{others}{closed}; "
        "add some, or name another --data"
    )
