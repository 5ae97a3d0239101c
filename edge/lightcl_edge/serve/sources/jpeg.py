"""JPEG files as pieces: cut whole frames out of a stream of bytes, and leave metadata behind.

A JPEG file is a list of segments: 0xFF, a marker, and mostly a length (ITU-T T.81, annex B). After a scan's header
follow coded bytes, in which 0xFF 0x00 and the restart markers are no new segment.
"""

import re
from io import BytesIO

from PIL import Image

from lightcl_edge.data.decoding import UNREADABLE, decode, open_bytes
from lightcl_edge.errors import DataError

#: A camera's frame is larger only when its bytes are no frames.
MAX_FRAME_BYTES = 8 * 2**20
#: Longer sides are shortened to this: no trunk looks at more, and every frame is sent over the network.
MAX_SIDE = 1280
QUALITY = 92

_START, _FIRST = b"\xff\xd8", b"\xff\xd8\xff"
_START_MARKER, _END_MARKER, _SCAN_MARKER = 0xD8, 0xD9, 0xDA
_RESTARTS = range(0xD0, 0xD8)
#: Application segments and comments, but not Adobe's: without it the colours would be others.
_METADATA = {*range(0xE0, 0xF0), 0xFE} - {0xEE}
_ADOBE_MARKER, _ADOBE_BYTES = 0xEE, 16
_AFTER_SCAN = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
_ORIENTATION = 0x0112


class _BrokenError(ValueError):
    """Bytes that are no JPEG; ``resume`` is where the next frame may begin."""

    def __init__(self, resume: int) -> None:
        super().__init__("not a JPEG")
        self.resume = resume


def _segment(data: bytes | bytearray, at: int, scanned: int = 0) -> tuple[int, int] | None:
    """Marker and end of the segment at ``at``; a scan ends where the next segment begins. None when bytes are missing.

    Coded bytes before ``scanned`` are known to hold no marker.
    """
    while data[at : at + 2] == b"\xff\xff":  # fill bytes
        at += 1
    if len(data) < at + 2:
        return None
    marker = data[at + 1]
    if data[at] != 0xFF or marker in (0x00, 0x01, _START_MARKER) or marker in _RESTARTS:
        raise _BrokenError(at if data[at : at + 2] == _START else len(_START))
    if marker == _END_MARKER:
        return marker, at + 2
    if len(data) < at + 4:
        return None
    length = int.from_bytes(data[at + 2 : at + 4], "big")
    if length < 2:
        raise _BrokenError(len(_START))
    end = at + 2 + length
    if marker == _SCAN_MARKER:
        found = _AFTER_SCAN.search(data, max(end, scanned))
        return None if found is None else (marker, found.start())
    return None if len(data) < end else (marker, end)


class JpegSplitter:
    """Cuts frames out of a stream of JPEG files. What is no whole frame is left out: truncated, too large, garbage."""

    def __init__(self, limit_bytes: int = MAX_FRAME_BYTES) -> None:
        self._limit_bytes = limit_bytes
        self._data = bytearray()
        self._at = self._scanned = 0

    def feed(self, chunk: bytes) -> list[bytes]:
        """Take the stream's next bytes; gives the frames that are complete now."""
        self._data += chunk
        frames: list[bytes] = []
        while self._find_start() and (end := self._find_end()) is not None:
            if end:
                frames.append(bytes(self._data[:end]))
                self._drop(end)
        return frames

    def _find_start(self) -> bool:
        if self._at:
            return True
        start = self._data.find(_FIRST)
        self._drop(start if start >= 0 else max(0, len(self._data) - len(_START)))
        self._at = len(_START) if start >= 0 else 0
        return start >= 0

    def _find_end(self) -> int | None:
        """End of the frame that has begun; None when bytes are missing, 0 when it was dropped."""
        try:
            while segment := _segment(self._data, self._at, self._scanned):
                marker, self._at = segment
                if self._at > self._limit_bytes:
                    raise _BrokenError(len(_START))
                if marker == _END_MARKER:
                    return self._at
            self._scanned = max(self._at, len(self._data) - 1)
            if len(self._data) > self._limit_bytes:
                raise _BrokenError(len(_START))
        except _BrokenError as error:
            self._drop(error.resume)
            return 0
        return None

    def _drop(self, count: int) -> None:
        del self._data[:count]
        self._at = self._scanned = 0


def without_metadata(jpeg: bytes) -> bytes:
    """A JPEG file without application segments (EXIF, places, previews), comments, or bytes after its end.

    Raises DataError when it is not a whole JPEG file.
    """
    parts, at = [_START], len(_START)
    try:
        while jpeg.startswith(_FIRST) and (segment := _segment(jpeg, at)):
            marker, end = segment
            if marker not in _METADATA and (marker != _ADOBE_MARKER or end - at <= _ADOBE_BYTES):
                parts.append(jpeg[at:end])
            if marker == _END_MARKER:
                return b"".join(parts)
            at = end
    except _BrokenError:
        pass
    raise DataError("found bytes that are no whole JPEG file; expected a JPEG picture")


def clean(picture: bytes, name: str) -> bytes:
    """A frame from a picture that somebody made: a JPEG without metadata, upright, no side longer than MAX_SIDE.

    A JPEG that is so already keeps its coded pixels. Anything else is coded anew. Raises DataError when it can't be
    read as an image, and HugeImageError when it takes too much memory.
    """
    image = open_bytes(picture, name)
    try:
        upright = image.getexif().get(_ORIENTATION, 1) == 1
    except UNREADABLE:  # damaged metadata is left behind all the same
        upright = True
    if image.format == "JPEG" and upright and max(image.size) <= MAX_SIDE and image.mode in ("RGB", "L"):
        image.close()
        return without_metadata(picture)
    image.draft("RGB", (MAX_SIDE, MAX_SIDE))
    pixels = Image.fromarray(decode(image, name, None))
    pixels.thumbnail((MAX_SIDE, MAX_SIDE), Image.Resampling.BILINEAR)
    out = BytesIO()
    pixels.save(out, "JPEG", quality=QUALITY)
    return without_metadata(out.getvalue())
