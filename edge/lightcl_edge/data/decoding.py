"""From an image file to pixels as the trunk takes them: decoded, upright, RGB, resized, normalised."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from lightcl_edge.bundle.manifest import InputInfo
from lightcl_edge.data.image_file import UNREADABLE, open_image, planned_decoding_bytes, refuse_what_memory_can_not_hold
from lightcl_edge.errors import DataError

ByteImage = NDArray[np.uint8]

_INTERPOLATION = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
}


def load_image(path: Path, info: InputInfo, limit_bytes: int | None = None) -> ByteImage:
    """One image file at the trunk's input size, shape ``(info.height, info.width, 3)``.

    Args:
        path: the file.
        info: the input size and how to get there.
        limit_bytes: the most this process may take meanwhile; None for what the machine has.

    Returns:
        Its pixels at that size.

    Raises:
        DataError: when it is not a readable image, or no plain file: reading a pipe or a device may never end.
    """
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise DataError(f"{path} is a pipe, socket or device; expected an image file")
    return decode(open_image(path), str(path), info, limit_bytes)


def decode(image: Image.Image, name: str, info: InputInfo | None, limit_bytes: int | None = None) -> ByteImage:
    """Decode, turn upright, convert to RGB, and resize if it is said to what; no copy that is not needed.

    Args:
        image: just opened; it is closed here.
        name: for messages.
        info: the trunk's input; None for the image's own size.
        limit_bytes: the most this process may take meanwhile; None for what the machine has.

    Returns:
        RGB pixels, shape ``(height, width, 3)``.

    Raises:
        DataError: when it is not a whole image, or one too large for the memory that is left.
    """
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
