"""From what a person writes after ``--source`` to a source."""

from pathlib import Path
from urllib.parse import urlsplit

from lightcl_edge.errors import UsageError
from lightcl_edge.serve.sources.child import ChildSource
from lightcl_edge.serve.sources.contract import Source
from lightcl_edge.serve.sources.programs import image_folder, pi_camera, rtsp_camera, v4l2_camera, video_file
from lightcl_edge.serve.sources.pushed import PushedSource

SOURCES = "v4l2:/dev/video0, picamera, rtsp://USER:PASSWORD@CAMERA/STREAM, folder:DIR, a video file, or none"


def open_source(spec: str) -> Source:
    """Start the source that ``spec`` names, one of :data:`SOURCES`.

    A camera, stream or folder that is missing is no error here: the source's status says so, and it is tried again.
    Raises UsageError when ``spec`` names no kind of source.
    """
    kind, _, place = spec.partition(":")
    if spec == "none":
        return PushedSource()
    if spec == "picamera":
        return ChildSource(pi_camera())
    if kind == "v4l2" or spec.startswith("/dev/"):
        return ChildSource(v4l2_camera(_device(place or spec, spec)))
    if kind in ("rtsp", "rtsps") and _host(spec):
        return ChildSource(rtsp_camera(spec))
    if kind == "folder" and place:
        return ChildSource(image_folder(Path(place).absolute()))
    path = Path(spec)
    if path.is_file():
        return ChildSource(video_file(path.absolute()))
    hint = f"; a folder is written folder:{spec}" if path.is_dir() else ""
    shown = spec if "@" not in spec else f"{kind}:..."  # it may hold a password
    raise UsageError(f"--source is {shown!r}, expected {SOURCES}{hint}")


def _device(place: str, spec: str) -> str:
    if not place.startswith("/dev/"):
        raise UsageError(f"--source is {spec!r}, expected a camera's device, such as v4l2:/dev/video0")
    return place


def _host(url: str) -> str | None:
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None
