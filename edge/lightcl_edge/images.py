"""Labelled images from folders, ``.npz`` files and named sources, made ready for the trunk.

A data specification is ``BASE`` or ``BASE@SELECTION``. ``BASE`` is a folder with one sub-folder a class,
an ``.npz`` file with ``x`` and ``y``, or a named source (``digits``, ``digits:test``, ``cifar10:PATH``,
``cifar10:test:PATH``). ``@2/5`` is the second of five class-incremental tasks (the classes in order, cut into
five runs), ``@1-3/5`` the first three together.
"""

from __future__ import annotations

import os
import re
import warnings
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from lightcl_edge.console import format_bytes
from lightcl_edge.errors import DataError, DoesNotFitError
from lightcl_edge.files import content_digest
from lightcl_edge.image_file import (
    SMALL_DECODING_BYTES,
    UNREADABLE,
    open_image,
    planned_decoding_bytes,
    refuse_what_memory_can_not_hold,
)
from lightcl_edge.manifest import InputInfo

ByteImage = NDArray[np.uint8]

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".webp", ".ppm", ".gif", ".tif", ".tiff"})
#: The largest array of an .npz file, unpacked.
MAX_ARRAY_BYTES = 2**30
_SELECTION = re.compile(r"^(?P<base>.+)@(?P<first>\d+)(?:-(?P<last>\d+))?/(?P<tasks>\d+)$")
_INTERPOLATION = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
}


class Dataset(ABC):
    """Labelled images, read one at a time.

    Attributes:
        classes: the class names of this selection, in order.
        labels: index into ``classes`` of each image, shape ``(n,)``.
        memory_limit_bytes: the most this process may take while it decodes one; None for what the machine has.
    """

    classes: list[str]
    labels: NDArray[np.int64]
    memory_limit_bytes: int | None = None

    def __len__(self) -> int:
        return len(self.labels)

    @abstractmethod
    def name(self, index: int) -> str:
        """What to call the image in a message: a path, or a position in an array."""

    @abstractmethod
    def open(self, index: int) -> Image.Image:
        """The image as Pillow sees it; for files not decoded yet.

        Args:
            index: which image.

        Returns:
            The image; its pixels are read when they are first used.

        Raises:
            DataError: when it is not a readable image.
        """

    @abstractmethod
    def version(self, index: int) -> bytes:
        """Bytes that change when the image does (a file's name and content; an array's content)."""

    def image(self, index: int) -> ByteImage:
        """The whole image, RGB, shape ``(height, width, 3)``.

        Args:
            index: which image.

        Returns:
            Its pixels.

        Raises:
            DataError: when it is not a readable image.
        """
        return _decode(self.open(index), self.name(index), None, self.memory_limit_bytes)

    def load(self, index: int, info: InputInfo) -> ByteImage:
        """The image at the trunk's input size, shape ``(info.height, info.width, 3)``.

        Args:
            index: which image.
            info: the input size and how to get there.

        Returns:
            Its pixels at that size.

        Raises:
            DataError: when it is not a readable image.
        """
        return _decode(self.open(index), self.name(index), info, self.memory_limit_bytes)

    def subset(self, indices: Sequence[int] | NDArray[np.int64], classes: Sequence[str]) -> Dataset:
        """The images at ``indices``; their labels are renumbered to ``classes``, which names all of theirs."""
        return _Subset(self, np.asarray(indices, np.int64), list(classes))


class _Subset(Dataset):
    def __init__(self, whole: Dataset, indices: NDArray[np.int64], classes: list[str]) -> None:
        self._whole, self._indices, self.classes = whole, indices, classes
        position = {name: row for row, name in enumerate(classes)}
        self.labels = np.array([position[whole.classes[whole.labels[i]]] for i in indices], np.int64)

    def name(self, index: int) -> str:
        return self._whole.name(int(self._indices[index]))

    def open(self, index: int) -> Image.Image:
        return self._whole.open(int(self._indices[index]))

    def version(self, index: int) -> bytes:
        return self._whole.version(int(self._indices[index]))


class FolderDataset(Dataset):
    """A folder with one sub-folder a class.

    Args:
        folder: where it is.

    Raises:
        DataError: when it is missing, has no class folders, or one of them is empty.
    """

    def __init__(self, folder: Path) -> None:
        if folder.is_file():
            raise DataError(f"{folder} is a file; expected a folder with one sub-folder a class, or an .npz file")
        if not folder.is_dir():
            raise DataError(f"no data at {folder}; expected a folder with one sub-folder a class, or an .npz file")
        names = sorted(p.name for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))
        if not names:
            loose = len(_image_files(folder))
            found = f"{loose} images and no sub-folders" if loose else "no sub-folders"
            raise DataError(f"{folder} has {found}; expected a sub-folder for each class, named after it")
        self.classes = names
        self.paths: list[Path] = []
        labels: list[int] = []
        for row, name in enumerate(names):
            files = _image_files(folder / name)
            if not files:
                raise DataError(
                    f"class folder {folder / name} holds no images (PNG, JPEG, WebP, BMP, TIFF, GIF or PPM files); "
                    "add some or remove the folder"
                )
            self.paths += files
            labels += [row] * len(files)
        self.labels = np.array(labels, np.int64)

    def name(self, index: int) -> str:
        """The image's path."""
        return str(self.paths[index])

    def open(self, index: int) -> Image.Image:
        """Open the file; see :meth:`Dataset.open`."""
        return open_image(self.paths[index])

    def version(self, index: int) -> bytes:
        """Name and content of the file; one that can't be read is told apart by its name alone."""
        path = self.paths[index]
        with suppress(OSError):
            return os.fsencode(path.name) + b"\0" + content_digest(path)
        return os.fsencode(path.name) + b"\0unreadable"


class ArrayDataset(Dataset):
    """Images in memory.

    Args:
        images: uint8, shape ``(n, h, w, 3)`` or ``(n, h, w)`` for grey ones.
        labels: class of each, numbers or text, shape ``(n,)``.
        origin: what to call the array in messages.

    Raises:
        DataError: when shapes or types do not fit.
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
        self.classes = [str(value) for value in values.tolist()]
        self.labels = rows.astype(np.int64)
        self._images, self._origin = images, origin

    def name(self, index: int) -> str:
        """The array's name and the position in it."""
        return f"{self._origin}[{index}]"

    def open(self, index: int) -> Image.Image:
        """The array as an image."""
        return Image.fromarray(self._images[index])

    def version(self, index: int) -> bytes:
        """The pixels themselves."""
        pixels: bytes = self._images[index].tobytes()
        return pixels


def _image_files(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES and p.is_file())


def load_image(path: Path, info: InputInfo) -> ByteImage:
    """One image file at the trunk's input size, shape ``(info.height, info.width, 3)``.

    Args:
        path: the file.
        info: the input size and how to get there.

    Returns:
        Its pixels at that size.

    Raises:
        DataError: when it is not a readable image, or no plain file: reading a pipe or a device may never end.
    """
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise DataError(f"{path} is a pipe, socket or device; expected an image file")
    return _decode(open_image(path), str(path), info)


def _decode(image: Image.Image, name: str, info: InputInfo | None, limit_bytes: int | None = None) -> ByteImage:
    """Decode, turn upright, convert to RGB, and resize if ``info`` says to what; no copy that is not needed."""
    try:
        if info is not None:
            # A JPEG decoder can halve the sides while it reads: a 12-megapixel photo then never exists in full.
            image.draft("RGB", (2 * info.width, 2 * info.height))
        planned = 0 if info is None else planned_decoding_bytes(info.width, info.height)
        refuse_what_memory_can_not_hold(image, name, planned, limit_bytes)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ImageOps.exif_transpose(image, in_place=True)
            upright = image if image.mode == "RGB" else _of_eight_bits(image, name).convert("RGB")
            return np.array(upright if info is None else _resized(upright, info))
    except UNREADABLE as error:
        raise DataError(f"{name} is damaged ({error}); expected a complete image") from error
    finally:
        image.close()


def _of_eight_bits(image: Image.Image, name: str) -> Image.Image:
    """Grey of 16 bits as its upper 8; Pillow would cut everything above 255 off and leave a white image."""
    if image.mode == "F":
        raise DataError(f"{name} holds numbers without a range (mode F); expected pixels of 8 or 16 bits")
    if image.mode != "I" and not image.mode.startswith("I;16"):
        return image
    pixels = np.asarray(image)
    if pixels.min() < 0 or pixels.max() >= 2**16:
        raise DataError(f"{name} has pixels of {pixels.min()} to {pixels.max()}; expected 8 or 16 bits")
    return Image.fromarray((pixels >> 8).astype(np.uint8))


def _resized(image: Image.Image, info: InputInfo) -> Image.Image:
    method = _INTERPOLATION[info.interpolation]
    if info.resize == "stretch":
        return image.resize((info.width, info.height), method)
    scale = max(info.width / image.width, info.height / image.height) / info.crop_ratio
    # Only the part that stays is resized: a very thin image would otherwise grow without bound.
    width, height = min(info.width / scale, image.width), min(info.height / scale, image.height)
    left, top = (image.width - width) / 2, (image.height - height) / 2
    return image.resize((info.width, info.height), method, box=(left, top, left + width, top + height))


def resize(image: ByteImage, info: InputInfo) -> ByteImage:
    """An RGB image of shape ``(h, w, 3)`` at the trunk's input size, shape ``(info.height, info.width, 3)``."""
    return np.asarray(_resized(Image.fromarray(image), info))


def normalise(images: NDArray[np.uint8], info: InputInfo) -> NDArray[np.float32]:
    """Pixels as the trunk takes them.

    Args:
        images: RGB, shape ``(n, height, width, 3)``.
        info: mean, standard deviation and channel order.

    Returns:
        ``(pixel / 255 - mean) / std``, shape ``(n, 3, height, width)``.
    """
    scale = 1.0 / (255.0 * np.asarray(info.std, np.float64))
    shift = np.asarray(info.mean, np.float64) / np.asarray(info.std, np.float64)
    ordered = images[..., ::-1] if info.channel_order == "BGR" else images
    planes = np.ascontiguousarray(ordered.transpose(0, 3, 1, 2), np.float32)
    planes *= scale.astype(np.float32)[:, None, None]
    planes -= shift.astype(np.float32)[:, None, None]
    return planes


def open_dataset(spec: str) -> Dataset:
    """Open what a data specification names.

    Args:
        spec: see the module's description.

    Returns:
        The images, read lazily.

    Raises:
        DataError: when there is no such data, or the selection does not fit it.
    """
    match = None if Path(spec).exists() else _SELECTION.match(spec)
    if match is None:
        return _open_base(spec)
    whole = _open_base(match["base"])
    first, tasks = int(match["first"]), int(match["tasks"])
    last = int(match["last"] or first)
    count = len(whole.classes)
    if not 1 <= first <= last <= tasks or tasks > count:
        raise DataError(
            f"{spec}: found tasks {first} to {last} of {tasks}, expected 1 to at most {count} (its classes)"
        )
    edges = [round(task * count / tasks) for task in range(tasks + 1)]
    wanted = whole.classes[edges[first - 1] : edges[last]]
    rows = [whole.classes.index(name) for name in wanted]
    return whole.subset(np.flatnonzero(np.isin(whole.labels, rows)), wanted)


def _open_base(spec: str) -> Dataset:
    path = Path(spec)
    if path.suffix == ".npz":
        return _open_npz(path)
    if not path.exists():
        from importlib.metadata import entry_points

        name, _, rest = spec.partition(":")
        sources = {entry.name: entry for entry in entry_points(group="lightcl_edge.datasets")}
        if name in sources:
            split, _, folder = rest.partition(":") if rest.split(":")[0] in ("train", "test") else ("train", "", rest)
            dataset = sources[name].load()(split=split, folder=Path(folder) if folder else None)
            if not isinstance(dataset, Dataset):
                raise DataError(f"data source {name!r} gave {type(dataset).__name__}, expected a Dataset")
            return dataset
    return FolderDataset(path)


def _refuse_arrays_that_do_not_fit(path: Path, needed_bytes: int) -> None:
    """Arrays are read whole, before there is a plan.

    Args:
        path: of the file.
        needed_bytes: unpacked.

    Raises:
        DoesNotFitError: when that is more than is left.
    """
    from lightcl_edge.allowance import spare_bytes

    if needed_bytes > SMALL_DECODING_BYTES and needed_bytes > (left := max(0, spare_bytes())):
        raise DoesNotFitError(
            f"{path} unpacks to {format_bytes(needed_bytes)}, of memory are left {format_bytes(left)}; use a folder "
            "with one sub-folder a class, whose images are read one at a time",
            {"plan": {"peak_bytes": needed_bytes}, "allowed_bytes": left},
        )


def _open_npz(path: Path) -> Dataset:
    if not path.is_file():
        raise DataError(f"no data at {path}; expected an .npz file with x (images) and y (classes)")
    try:
        with np.load(path, allow_pickle=False) as arrays:
            if not isinstance(arrays, np.lib.npyio.NpzFile):
                raise DataError(f"{path} holds a single array; expected an .npz file with x (images) and y (classes)")
            missing = {"x", "y"} - set(arrays.files)
            if missing:
                raise DataError(f"{path} lacks {sorted(missing)}; expected arrays x (images) and y (classes)")
            sizes = [info.file_size for info in arrays.zip.infolist()] if arrays.zip else []
            largest = max(sizes, default=0)
            if largest > MAX_ARRAY_BYTES:
                raise DataError(f"{path} unpacks to {largest} bytes, expected at most {MAX_ARRAY_BYTES} an array")
            _refuse_arrays_that_do_not_fit(path, sum(sizes))
            return ArrayDataset(arrays["x"], arrays["y"], str(path))
    except UNREADABLE as error:
        raise DataError(f"{path} can't be read as .npz ({error}); expected arrays x and y without objects") from error
