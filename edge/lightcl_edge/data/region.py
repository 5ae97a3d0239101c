"""The part of each picture that counts: a rectangle that its owner drew."""

from dataclasses import dataclass
from typing import Annotated

from lightcl_edge.data.decoding import ByteImage, decode, open_bytes
from lightcl_edge.errors import UsageError
from lightcl_edge.files.records import between

_SHARE = between(0.0, 1.0)
#: Rounding of a browser's numbers may lead a little out of the picture.
_ROUNDING = 1e-6


@dataclass(frozen=True)
class Region:
    """A rectangle in an upright picture, as shares of its sides: ``x`` from the left, ``y`` from the top.

    Raises UsageError when it is empty or reaches out of the picture.
    """

    x: Annotated[float, _SHARE] = 0.0
    y: Annotated[float, _SHARE] = 0.0
    width: Annotated[float, _SHARE] = 1.0
    height: Annotated[float, _SHARE] = 1.0

    def __post_init__(self) -> None:
        for start, side in ((self.x, self.width), (self.y, self.height)):
            if not (start >= 0 and side > 0 and start + side <= 1 + _ROUNDING):
                raise UsageError(
                    f"the region begins at ({self.x:g}, {self.y:g}) and has sides of {self.width:g} and "
                    f"{self.height:g}; expected shares of the picture, such as 0.25, that stay inside it"
                )

    def box(self, width: int, height: int) -> tuple[int, int, int, int]:
        """Left, top, right and bottom in a picture of this size, in pixels; at least one pixel wide and high."""
        left, top = min(int(self.x * width), width - 1), min(int(self.y * height), height - 1)
        right, bottom = round((self.x + self.width) * width), round((self.y + self.height) * height)
        return left, top, max(left + 1, min(right, width)), max(top + 1, min(bottom, height))


WHOLE = Region()


def crop(picture: bytes | ByteImage, region: Region = WHOLE, name: str = "the picture") -> ByteImage:
    """The region's pixels, RGB, shape ``(height, width, 3)``, not yet at the trunk's input size.

    A picture in a file's format is decoded in full and turned upright. So the pixels are the same whether they are
    predicted at once or first kept in a file without loss. Raises DataError when it can't be read.
    """
    pixels = decode(open_bytes(picture, name), name, None) if isinstance(picture, bytes) else picture
    left, top, right, bottom = region.box(pixels.shape[1], pixels.shape[0])
    return pixels[top:bottom, left:right]
