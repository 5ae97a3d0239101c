"""From an image file to pixels: opened, judged by its header, decoded, turned upright, RGB, resized."""

import errno
import math
import os
import struct
import warnings
import zipfile
import zlib
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError
from PIL.JpegImagePlugin import JpegImageFile

from lightcl_edge.bundle.manifest import InputInfo
from lightcl_edge.console.text import format_bytes
from lightcl_edge.data.grey_range import GreyRange, is_deep, range_of, with_eight_bits
from lightcl_edge.data.image_folders import CONVERT, FORMAT_NAMES, OTHER_PHOTOS, reads_heif
from lightcl_edge.errors import DataError, HugeImageError, ImageBombError
from lightcl_edge.machine.memory_limits import spare_bytes

ByteImage = NDArray[np.uint8]

#: A picture that stays larger while it is read is refused: 64 megapixels need 192 MB.
MAX_PIXELS = 64_000_000
#: Above this many pixels a file must be worth them: a photograph takes 2 to 8 pixels a byte, a trap thousands.
PIXELS_ON_TRUST, MAX_PIXELS_PER_BYTE = 4_000_000, 200
#: Images that need no more than this are always decoded: four megabytes are part of every plan's reserve.
SMALL_DECODING_BYTES = 4 * 2**20
#: The decoders that may look at a file. Pillow has others, and one of them starts another program.
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF", "PPM")
#: What Pillow's decoders, and numpy for .npz files, raise on damaged files.
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
_HINTS = {errno.EACCES: "; check its owner and rights", errno.EIO: "; the disk or card may be failing"}
_INTERPOLATION = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
}


def load_image(
    path: Path, info: InputInfo, limit_bytes: int | None = None, grey_range: GreyRange | None = None
) -> ByteImage:
    """One image file at the trunk's input size, RGB, shape ``(info.height, info.width, 3)``; see :func:`decode`.

    Raises DataError when it is not a readable image or not a regular file: reading a pipe or a device may never end.
    """
    if os.path.exists(path) and not (os.path.isfile(path) or os.path.isdir(path)):  # noqa: PTH110, PTH112, PTH113
        raise DataError(f"{path} is a pipe, socket or device; expected an image file")
    return decode(open_image(path), str(path), info, limit_bytes, grey_range)


def open_image(path: Path) -> Image.Image:
    """Open an image file without decoding it.

    Raises DataError when it is missing or not an image, ImageBombError when it has too many pixels.
    """
    return _open(path, str(path))


def open_bytes(data: bytes, name: str) -> Image.Image:
    """As :func:`open_image`, for an image from a camera or a network; ``name`` is for messages."""
    return _open(BytesIO(data), name)


def _open(source: Path | BytesIO, name: str) -> Image.Image:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about a size that is refused below, or about metadata that is not used
            image = _opened(source)
    except FileNotFoundError as error:
        raise DataError(f"no image at {name}") from error
    except IsADirectoryError as error:
        raise DataError(f"{name} is a folder; name image files, such as {name}/*.jpg") from error
    except Image.DecompressionBombError as error:
        raise ImageBombError(f"{name} has too many pixels ({error}), expected at most {MAX_PIXELS} in all") from error
    except UNREADABLE as error:
        _raise_what_the_system_says(error, name)
        advice = CONVERT if _is_other_photo(source) else ""
        raise DataError(f"{name} can't be read as an image; expected {FORMAT_NAMES}{advice}") from error
    pixels = image.width * image.height
    size = source.stat().st_size if isinstance(source, Path) else source.getbuffer().nbytes
    if pixels > MAX_PIXELS * _most_reduced(image) ** 2 or (
        pixels > PIXELS_ON_TRUST and pixels > MAX_PIXELS_PER_BYTE * size
    ):
        image.close()
        raise ImageBombError(
            f"{name} has {image.width} x {image.height} pixels in {size} bytes, expected at most {MAX_PIXELS} in all, "
            f"and above {PIXELS_ON_TRUST} at most {MAX_PIXELS_PER_BYTE} a byte"
        )
    return image


def _opened(source: Path | BytesIO) -> Image.Image:
    try:
        return Image.open(source, formats=FORMATS)
    except UnidentifiedImageError:
        if not (reads_heif() and _is_other_photo(source)):
            raise
        import pillow_heif  # with the first such photograph: it takes 10 MiB

        pillow_heif.register_heif_opener()
        return Image.open(source, formats=("HEIF",))
    except Image.DecompressionBombError:  # Pillow does not ask whether the image will be reduced
        if _first_bytes(source, 3) != b"\xff\xd8\xff":
            raise
        return JpegImageFile(source)


def _first_bytes(source: Path | BytesIO, count: int) -> bytes:
    if isinstance(source, BytesIO):
        return source.getvalue()[:count]
    with source.open("rb") as file:
        return file.read(count)


def _most_reduced(image: Image.Image) -> int:
    """By how much the sides can be divided while the image is read: only a JPEG's decoder can."""
    return 8 if isinstance(image, JpegImageFile) else 1


def _raise_what_the_system_says(error: Exception, name: str) -> None:
    """Raise a DataError when the system refuses to read a file; return when the file's content is at fault."""
    if isinstance(error, OSError) and error.errno is not None:
        hint = _HINTS.get(error.errno, "")
        raise DataError(f"{name} can't be read: {os.strerror(error.errno)}{hint}") from error


def _is_other_photo(source: Path | BytesIO) -> bool:
    """Whether an image is HEIC or AVIF, by its name or by its content."""
    if isinstance(source, Path) and source.suffix.lower() in OTHER_PHOTOS:
        return True
    try:
        return _first_bytes(source, 8)[4:] == b"ftyp"
    except OSError:
        return False


def decode(
    image: Image.Image,
    name: str,
    info: InputInfo | None,
    limit_bytes: int | None = None,
    grey_range: GreyRange | None = None,
) -> ByteImage:
    """Decode an image, turn it upright, convert it to RGB, resize it, and close it.

    Without ``info``, the trunk's input, it keeps its size; a JPEG is then halved until it has at most ``MAX_PIXELS``.
    ``limit_bytes`` is the most memory this process may take meanwhile; None for what the machine has. ``grey_range`` is
    what becomes black and white where pixels have more than 8 bits; None for the image's own range. Raises DataError
    when the image is damaged or needs more memory.
    """
    try:
        _reduce(image, name, info)
        planned = 0 if info is None else planned_decoding_bytes(info.width, info.height)
        refuse_what_memory_can_not_hold(image, name, planned, limit_bytes)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ImageOps.exif_transpose(image, in_place=True)
            upright = with_eight_bits(image, name, grey_range) if is_deep(image) else image
            upright = upright if upright.mode == "RGB" else upright.convert("RGB")
            return np.array(upright if info is None else _resized(upright, info))
    except UNREADABLE as error:
        _raise_what_the_system_says(error, name)
        raise DataError(f"{name} is damaged ({error}); expected a complete image") from error
    finally:
        image.close()


def deep_range(image: Image.Image, name: str, limit_bytes: int | None = None) -> GreyRange | None:
    """The range of an image of more than 8 bits, None for another; the image is closed. Raises as :func:`decode`."""
    try:
        if not is_deep(image):
            return None
        refuse_what_memory_can_not_hold(image, name, 0, limit_bytes)
        return range_of(image, name)
    except UNREADABLE as error:
        raise DataError(f"{name} is damaged ({error}); expected a complete image") from error
    finally:
        image.close()


def _reduce(image: Image.Image, name: str, info: InputInfo | None) -> None:
    """Let a JPEG's decoder divide the sides by 2, 4 or 8: a 12-megapixel photo then never exists in full.

    What is left is resized by 1.5 or more (at crop ratios of 0.75 or more): how the decoder averaged does not show.
    """
    if info is not None:
        spare = min(2.0, 1.5 if info.resize == "stretch" else 1.5 / info.crop_ratio)
        image.draft("RGB", (math.ceil(spare * info.width), math.ceil(spare * info.height)))
    elif image.width * image.height > MAX_PIXELS:
        divisor = next((each for each in (2, 4) if image.width * image.height <= MAX_PIXELS * each**2), 8)
        image.draft("RGB", (image.width // divisor, image.height // divisor))
    if image.width * image.height > MAX_PIXELS:
        raise HugeImageError(f"{name} has {image.width} x {image.height} pixels, expected at most {MAX_PIXELS} in all")


def decoding_bytes(image: Image.Image) -> int:
    """Memory that decoding takes at its peak.

    Pillow keeps four bytes a pixel, and a second image while one is turned upright or converted. It first reads a
    progressive JPEG as coefficients of the full size: two bytes each, in up to three planes.

    Returns:
        Bytes.
    """
    pixels = image.width * image.height
    reduced = getattr(image, "decoderconfig", None) or (1,)
    coefficients = 6 * pixels * int(reduced[0]) ** 2 if image.info.get("progressive") else 0
    return 8 * pixels + coefficients


def planned_decoding_bytes(width: int, height: int) -> int:
    """Memory that a plan has for decoding one image, at this input size of the trunk.

    An ordinary JPEG of about 4:3 needs no more: it is reduced to less than four times the wanted sides.
    """
    return 8 * (4 * width) * (4 * height)


def refuse_what_memory_can_not_hold(
    image: Image.Image, name: str, planned_bytes: int, limit_bytes: int | None = None
) -> None:
    """Refuse a large image by its header: the kernel would end the process while it is decoded.

    Raises HugeImageError when decoding needs more than the plan has and more than is left.
    """
    needed = decoding_bytes(image)
    if needed <= max(planned_bytes, SMALL_DECODING_BYTES):
        return
    left = max(0, spare_bytes(limit_bytes))
    if needed > left:
        raise HugeImageError(
            f"{name} has {image.width} x {image.height} pixels, which take {format_bytes(needed)} of memory to decode; "
            f"left are {format_bytes(left)}. Expected a smaller image, or a JPEG that is not progressive, which is "
            "reduced while it is read"
        )


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
