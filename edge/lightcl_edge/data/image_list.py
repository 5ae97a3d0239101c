"""Images and labels that an application holds in memory."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lightcl_edge.data.class_names import canonical
from lightcl_edge.data.dataset import Dataset
from lightcl_edge.errors import DataError

Images = Sequence[NDArray[np.uint8]] | NDArray[np.uint8]


class ImageList(Dataset):
    """Images in memory, of any sizes.

    Args:
        images: RGB, uint8, each of shape ``(height, width, 3)``.
        labels: the class of each image.

    Raises:
        DataError: when there are none, or a type, shape or number does not fit.
    """

    def __init__(self, images: Images, labels: Sequence[str]) -> None:
        if isinstance(labels, str):
            raise DataError(f"labels are the text {labels!r}; expected a list with a class name for each image")
        if len(images) != len(labels) or not len(images):
            raise DataError(
                f"found {len(images)} images and {len(labels)} labels, expected a label for each, at least one"
            )
        for place, image in enumerate(images):
            if (wrong := _wrong_image(image)) is not None:
                raise DataError(f"image {place} is {wrong}; expected RGB, uint8 of shape (height, width, 3)")
        for place, label in enumerate(labels):
            if not isinstance(label, str) or not label:
                raise DataError(f"label {place} is {label!r}; expected a class name")
        self._images = images
        names = [canonical(label) for label in labels]
        self.classes = sorted(set(names))
        rows = {name: row for row, name in enumerate(self.classes)}
        self.labels = np.array([rows[name] for name in names], np.int64)

    def name(self, index: int) -> str:
        return f"image {index}"

    def open(self, index: int) -> Image.Image:
        return Image.fromarray(np.ascontiguousarray(self._images[index]))

    def content(self, index: int) -> bytes:
        """The pixels themselves."""
        pixels: bytes = self._images[index].tobytes()
        return pixels


def _wrong_image(image: object) -> str | None:
    """What is there instead of an image; None when it is one."""
    if not isinstance(image, np.ndarray):
        return type(image).__name__
    fits = image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3 and 0 not in image.shape
    return None if fits else f"{image.dtype} of shape {image.shape}"
