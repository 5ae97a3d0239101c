"""Grey images of more than 8 bits, such as those of thermal cameras: which values become black and white.

Such a camera uses a small part of its 65,536 values. The upper 8 bits of them would be a flat picture, and each
picture's own range would hide what is warm. So the first such data set decides the range, the state keeps it, and
images to learn from and to predict are scaled alike.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lightcl_edge.errors import DataError

#: Values that become black and white; those beyond are cut off.
GreyRange = tuple[float, float]
#: The share of an image's pixels that may lie beyond its range on either side: single pixels of a sensor may be broken.
_BEYOND = 0.001


def is_deep(image: Image.Image) -> bool:
    """Whether an image has one number of more than 8 bits a pixel."""
    return image.mode in ("I", "F") or image.mode.startswith("I;16")


def range_of(image: Image.Image, name: str) -> GreyRange:
    """The range of a deep image. Raises DataError when a pixel is no finite number."""
    return _range(_pixels(image, name))


def joined(ranges: Iterable[GreyRange]) -> GreyRange | None:
    """The range that holds all of them; None when there are none."""
    found = list(ranges)
    return (min(low for low, _ in found), max(high for _, high in found)) if found else None


def with_eight_bits(image: Image.Image, name: str, grey_range: GreyRange | None) -> Image.Image:
    """Scale a deep image to 8 bits, by its own range where there is no other. Raises DataError as :func:`range_of`."""
    pixels = _pixels(image, name)
    low, high = grey_range or _range(pixels)
    scaled = pixels.astype(np.float32)
    scaled -= np.float32(low)
    scaled *= np.float32(255 / ((high - low) or 1))
    return Image.fromarray(np.rint(scaled, out=scaled).clip(0, 255, out=scaled).astype(np.uint8))


def _pixels(image: Image.Image, name: str) -> NDArray[Any]:
    pixels = np.asarray(image)
    if not np.isfinite(pixels).all():
        raise DataError(f"{name} has pixels that are no numbers; expected finite values")
    return pixels


def _range(pixels: NDArray[Any]) -> GreyRange:
    beyond = int(_BEYOND * pixels.size)
    ends = beyond, pixels.size - 1 - beyond
    ordered = np.partition(pixels, ends, axis=None)
    return float(ordered[ends[0]]), float(ordered[ends[1]])
