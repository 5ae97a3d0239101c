"""No camera: pictures are sent by the page or over the network."""

from lightcl_edge.serve.sources.contract import Frame, Source, SourceStatus
from lightcl_edge.serve.sources.jpeg import clean


class PushedSource(Source):
    """Gives the pictures that are pushed into it."""

    kind = "none"

    def push(self, picture: bytes) -> Frame:
        """Make a picture in a file's format the newest frame: without metadata, upright, not larger than is useful.

        Raises DataError when it can't be read as an image or needs too much memory.
        """
        return self._publish(clean(picture, "the picture"))

    def status(self) -> SourceStatus:
        return SourceStatus(self.kind, True, "no camera: send a picture", self._frames_per_second())
