"""Pictures and labels that an application holds in memory."""

from collections.abc import Iterable, Iterator
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lightcl_edge.bundle.manifest import InputInfo
from lightcl_edge.data.class_names import canonical
from lightcl_edge.data.dataset import Dataset
from lightcl_edge.data.decoding import ByteImage, decode
from lightcl_edge.data.grey_range import GreyRange
from lightcl_edge.errors import DataError

Picture = NDArray[np.uint8] | NDArray[np.uint16] | Image.Image
Pictures = Iterable[Picture] | NDArray[np.uint8] | NDArray[np.uint16]
ChannelOrder = Literal["rgb", "bgr"]
_EXPECTED = (
    "a Pillow image, or an array of shape (height, width), (height, width, 3) or (height, width, 4): uint8, or uint16 "
    "for grey"
)


class ImageList(Dataset):
    """Pictures in memory, of any sizes. They are kept until the data set goes.

    Args:
        images: what :func:`as_image` takes.
        labels: the class of each picture.
        channel_order: of arrays with three or four channels.

    Raises:
        DataError: when there are none, or a type, shape or number does not fit.
    """

    def __init__(self, images: Pictures, labels: Iterable[str], channel_order: ChannelOrder = "rgb") -> None:
        if isinstance(labels, str):
            raise DataError(f"labels are the text {labels!r}; expected a list with a class name for each image")
        pictures, names = list(several(images)), list(labels)
        if len(pictures) != len(names) or not pictures:
            raise DataError(
                f"found {len(pictures)} images and {len(names)} labels, expected a label for each, at least one"
            )
        for place, picture in enumerate(pictures):
            _check(picture, place)
        for place, label in enumerate(names):
            if not isinstance(label, str) or not label:
                raise DataError(f"label {place} is {label!r}; expected a class name")
        self._pictures, self._order = pictures, channel_order
        names = [canonical(label) for label in names]
        self.classes = sorted(set(names))
        rows = {name: row for row, name in enumerate(self.classes)}
        self.labels = np.array([rows[name] for name in names], np.int64)

    def name(self, index: int) -> str:
        return f"image {index}"

    def open(self, index: int) -> Image.Image:
        return as_image(self._pictures[index], index, self._order)

    def content(self, index: int) -> bytes:
        """The pixels themselves."""
        return self.open(index).tobytes()


def decode_all(
    images: Pictures, info: InputInfo, grey_range: GreyRange | None, channel_order: ChannelOrder
) -> Iterator[ByteImage]:
    """Pictures at input size, taken one by one as they are asked for. DataError when one does not fit."""
    for place, picture in enumerate(several(images)):
        yield decode(as_image(picture, place, channel_order), f"image {place}", info, None, grey_range)


def as_image(picture: Picture, place: int = 0, channel_order: ChannelOrder = "rgb") -> Image.Image:
    """A picture for Pillow, which may be changed and closed.

    Args:
        picture: a Pillow image; or grey ``(height, width)`` or ``(height, width, 1)``, uint8 or uint16; or colours
            ``(height, width, 3)``, with transparency ``(height, width, 4)``, uint8.
        place: what to call it in a message.
        channel_order: of an array with colours.

    Raises:
        DataError: when it is something else.
    """
    _check(picture, place)
    if isinstance(picture, Image.Image):
        return picture.copy()
    if picture.ndim == 3 and picture.shape[2] == 1:
        picture = picture[..., 0]
    elif picture.ndim == 3 and channel_order == "bgr":
        picture = picture[..., [2, 1, 0, 3][: picture.shape[2]]]
    return Image.fromarray(np.ascontiguousarray(picture))


def several(images: Pictures) -> Iterable[Picture]:
    """The pictures; DataError when it is a single one, whose rows would be taken for pictures."""
    single = isinstance(images, Image.Image) or (
        isinstance(images, np.ndarray) and (images.ndim == 2 or (images.ndim == 3 and images.shape[2] in (1, 3, 4)))
    )
    if single or not isinstance(images, Iterable):
        found = f"an array of shape {images.shape}" if isinstance(images, np.ndarray) else type(images).__name__
        raise DataError(f"images are {found}; expected several pictures: put a single one into a list")
    return images


def _check(picture: object, place: int) -> None:
    if isinstance(picture, Image.Image):
        return
    found = type(picture).__name__
    if isinstance(picture, np.ndarray):
        grey = picture.ndim == 2 or (picture.ndim == 3 and picture.shape[2] == 1)
        colour = picture.ndim == 3 and picture.shape[2] in (3, 4)
        if 0 not in picture.shape and (
            (grey and picture.dtype in (np.uint8, np.uint16)) or (colour and picture.dtype == np.uint8)
        ):
            return
        found = f"{picture.dtype} of shape {picture.shape}"
    raise DataError(f"image {place} is {found}; expected {_EXPECTED}")
