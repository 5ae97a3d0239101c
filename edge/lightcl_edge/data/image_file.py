"""Image files from anywhere: which decoders may look at them, and what is refused before it is decoded."""

from __future__ import annotations

import struct
import warnings
import zipfile
import zlib
from pathlib import Path

from PIL import Image

from lightcl_edge.console.text import format_bytes
from lightcl_edge.errors import DataError, HugeImageError, ImageBombError

#: A larger picture is refused before it is decoded: 64 megapixels need 192 MB.
MAX_PIXELS = 64_000_000
#: Above this many pixels a file must be worth them: a photograph takes 2 to 8 pixels a byte, a trap thousands.
PIXELS_ON_TRUST, MAX_PIXELS_PER_BYTE = 4_000_000, 200
#: What fits without asking: four megabytes are part of every plan's reserve.
SMALL_DECODING_BYTES = 4 * 2**20
#: The decoders that may look at a file. Pillow knows others, one of which starts another program.
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF", "PPM")
#: How such files are named, and what to call them to a person.
IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".webp", ".ppm", ".gif", ".tif", ".tiff"})
FORMAT_NAMES = "PNG, JPEG, WebP, BMP, TIFF, GIF or PPM"
#: Photographs of telephones that no decoder here reads.
OTHER_PHOTOS = frozenset({".heic", ".heif", ".avif"})
CONVERT = "; convert HEIC and AVIF photos to JPEG, for example with heif-convert PHOTO.heic PHOTO.jpg"
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
        advice = CONVERT if _is_other_photo(path) else ""
        raise DataError(f"{path} can't be read as an image; expected {FORMAT_NAMES}{advice}") from error
    pixels, size = image.width * image.height, path.stat().st_size
    if pixels > MAX_PIXELS or (pixels > PIXELS_ON_TRUST and pixels > MAX_PIXELS_PER_BYTE * size):
        image.close()
        raise ImageBombError(
            f"{path} has {image.width} x {image.height} pixels in {size} bytes, expected at most {MAX_PIXELS} in all, "
            f"and above {PIXELS_ON_TRUST} at most {MAX_PIXELS_PER_BYTE} a byte"
        )
    return image


def _is_other_photo(path: Path) -> bool:
    """Whether a file is HEIC or AVIF, by its name or, whatever that is, by its content."""
    try:
        with path.open("rb") as file:
            return path.suffix.lower() in OTHER_PHOTOS or file.read(8)[4:] == b"ftyp"
    except OSError:
        return False


def decoding_bytes(image: Image.Image) -> int:
    """What decoding an image takes at its peak.

    Pillow keeps four bytes a pixel, and a second image while one is turned upright or converted. A progressive JPEG is
    held as coefficients of its full size first, whatever size is wanted: two bytes each, in up to three planes.

    Args:
        image: opened, told (``draft``) how much of it is wanted, not decoded.

    Returns:
        Bytes.
    """
    pixels = image.width * image.height
    reduced = getattr(image, "decoderconfig", None) or (1,)
    coefficients = 6 * pixels * int(reduced[0]) ** 2 if image.info.get("progressive") else 0
    return 8 * pixels + coefficients


def planned_decoding_bytes(width: int, height: int) -> int:
    """What decoding takes of any ordinary JPEG, which is reduced to less than four times the sides that are wanted.

    Args:
        width: of the trunk's input.
        height: likewise.

    Returns:
        Bytes; the plan of a run has room for them.
    """
    return 8 * (4 * width) * (4 * height)


def refuse_what_memory_can_not_hold(
    image: Image.Image, name: str, planned_bytes: int, limit_bytes: int | None = None
) -> None:
    """Judge a large image by its header, before it is decoded.

    Args:
        image: as :func:`decoding_bytes` takes it.
        name: for the message.
        planned_bytes: what the plan has room for.
        limit_bytes: the most this process may take; None for what the machine has.

    Raises:
        HugeImageError: when decoding needs more than that and more than is left; the kernel would end the process
            instead.
    """
    needed = decoding_bytes(image)
    if needed <= max(planned_bytes, SMALL_DECODING_BYTES):
        return
    from lightcl_edge.machine.limits import spare_bytes

    left = max(0, spare_bytes(limit_bytes))
    if needed > left:
        raise HugeImageError(
            f"{name} has {image.width} x {image.height} pixels, which take {format_bytes(needed)} of memory to decode; "
            f"left are {format_bytes(left)}. Expected a smaller image, or a JPEG that is not progressive, which is "
            "reduced while it is read"
        )
