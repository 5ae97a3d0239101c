"""Image files from anywhere: which decoders may look at them, and what is refused before it is decoded."""

from __future__ import annotations

import struct
import warnings
import zipfile
import zlib
from pathlib import Path

from PIL import Image

from lightcl_edge.errors import DataError
from lightcl_edge.refusals import ImageBombError

#: A larger picture is refused before it is decoded: 64 megapixels need 192 MB.
MAX_PIXELS = 64_000_000
#: Above this many pixels a file must be worth them: a photograph takes 2 to 8 pixels a byte, a trap thousands.
PIXELS_ON_TRUST, MAX_PIXELS_PER_BYTE = 4_000_000, 200
#: The decoders that may look at a file. Pillow knows others, one of which starts another program.
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF", "PPM")
#: What Pillow's decoders, and numpy for .npz files, raise on files that are not what they say.
UNREADABLE: tuple[type[Exception], ...] = (
    OSError,
    ValueError,
    SyntaxError,
    EOFError,
    ArithmeticError,
    LookupError,
    TypeError,
    AttributeError,
    struct.error,
    MemoryError,
    RuntimeError,
    zlib.error,
    zipfile.BadZipFile,
    Image.DecompressionBombError,
)


def open_image(path: Path) -> Image.Image:
    """Open an image file without decoding it.

    Args:
        path: the file.

    Returns:
        The image; its pixels are read when they are first used.

    Raises:
        DataError: when it is missing, or not an image.
        ImageBombError: when it has more pixels than are allowed, or than its bytes are worth.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a size that is refused below, or of metadata nobody reads
            image = Image.open(path, formats=FORMATS)
    except FileNotFoundError as error:
        raise DataError(f"no image at {path}") from error
    except IsADirectoryError as error:
        raise DataError(f"{path} is a folder; name image files, such as {path}/*.jpg") from error
    except Image.DecompressionBombError as error:
        raise ImageBombError(f"{path} has too many pixels ({error}), expected at most {MAX_PIXELS} in all") from error
    except UNREADABLE as error:
        raise DataError(f"{path} can't be read as an image; expected PNG or JPEG") from error
    pixels, size = image.width * image.height, path.stat().st_size
    if pixels > MAX_PIXELS or (pixels > PIXELS_ON_TRUST and pixels > MAX_PIXELS_PER_BYTE * size):
        image.close()
        raise ImageBombError(
            f"{path} has {image.width} x {image.height} pixels in {size} bytes, expected at most {MAX_PIXELS} in all, "
            f"and above {PIXELS_ON_TRUST} at most {MAX_PIXELS_PER_BYTE} a byte"
        )
    return image
