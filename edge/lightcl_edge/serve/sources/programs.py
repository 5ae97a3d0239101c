"""The programs that deliver pictures: how each is called, and what its complaints mean for a person."""

import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from lightcl_edge.console.text import printable, shortened
from lightcl_edge.serve.sources.contract import FASTEST_RATE

#: Pixels across: enough for a trunk to look at a part of the picture, and for a page.
FRAME_WIDTH, FRAME_HEIGHT = 640, 480
#: A network camera that is silent for so long is asked again.
_SILENCE_SECONDS = 10
_LONGEST_MESSAGE = 200
_PASSWORD = re.compile(r"(?<=://)[^/@\s]+@")


@dataclass(frozen=True)
class Program:
    """A child process that writes JPEG files to its output, one after another.

    Attributes:
        kind: of the source.
        place: what a person calls it, without a password.
        command: gives the words of the command line for a number of frames a second.
        install: how to install the program.
        meanings: pairs of a pattern in what the program complains about and what to tell a person.
        live: whether the program may be started anew for another rate: a file would begin again.
        patient: whether frames may wait for their turn, and it is normal that none comes for long: stills of a folder.
    """

    kind: str
    place: str
    command: Callable[[float], list[str]]
    install: str
    meanings: tuple[tuple[str, str], ...]
    live: bool = True
    patient: bool = False

    def explain(self, complaints: str) -> str:
        """The first meaning that fits; else the last line of the complaints."""
        for pattern, meaning in self.meanings:
            if re.search(pattern, complaints, re.IGNORECASE):
                return meaning
        lines = [line for line in complaints.splitlines() if line.strip()]
        if not lines:
            return f"{self.place} stopped giving pictures; it is started anew"
        said = _PASSWORD.sub("", printable(lines[-1]).strip())
        return said if self.kind == "folder" else shortened(f"{self.place} gives no pictures: {said}", _LONGEST_MESSAGE)


def v4l2_camera(device: str) -> Program:
    """A USB camera or another that the kernel knows, such as ``/dev/video0``."""
    return Program(
        "v4l2",
        device,
        lambda rate: _ffmpeg(["-f", "v4l2", "-video_size", f"{FRAME_WIDTH}x{FRAME_HEIGHT}", "-i", device], rate),
        _APT_FFMPEG,
        (
            ("no such file|no such device", f"no camera at {device}; is it plugged in?"),
            ("busy", f"the camera at {device} is in use by another program; end that program"),
            (
                "permission denied",
                f"this user may not read {device}; allow it: sudo usermod -aG video USER, then restart",
            ),
            (
                "not a video capture device|inappropriate ioctl|cannot open video device",
                f"{device} is no camera; v4l2-ctl --list-devices shows which are",
            ),
        ),
    )


def rtsp_camera(url: str) -> Program:
    """A camera in the network."""
    place, host = _PASSWORD.sub("", url), urlsplit(url).hostname or url
    silence = str(_SILENCE_SECONDS * 1_000_000)
    options = ["-rtsp_transport", "tcp", "-timeout", silence, "-fflags", "nobuffer", "-flags", "low_delay"]
    options += ["-use_wallclock_as_timestamps", "1"]  # clocks of cameras jump, and frames would be held back then
    return Program(
        "rtsp",
        place,
        lambda rate: _ffmpeg([*options, "-i", url], rate),
        _APT_FFMPEG,
        (
            ("401|403|unauthorized|forbidden", f"the camera {host} refuses the user name or the password"),
            ("404|stream not found", f"the camera {host} has no stream of this name; found {place}"),
            ("connection refused", f"nothing answers at {place}; is its RTSP switched on, and is the port right?"),
            ("failed to resolve|not known", f"the network knows no {host}; check the camera's name or address"),
            ("invalid data", f"{place} gives no video that ffmpeg can read"),
            ("timed out|no route|unreachable", f"the camera {host} does not answer; is it on, and in this network?"),
        ),
    )


def video_file(path: Path) -> Program:
    """A video, in real time and again from its start when it ends."""
    # A file must not name other places, as playlists do: they could be in the network.
    source = ["-protocol_whitelist", "file", "-re", "-stream_loop", "-1", "-i", f"file:{path}"]
    return Program(
        "video",
        str(path),
        lambda _rate: _ffmpeg(source, FASTEST_RATE),
        _APT_FFMPEG,
        (
            ("no such file", f"no video at {path}"),
            ("permission denied", f"this user may not read {path}"),
            ("invalid data|does not contain any stream|matches no streams", f"{path} is no video that ffmpeg can read"),
        ),
        live=False,
    )


def pi_camera() -> Program:
    """The camera on a Raspberry Pi's own connector."""
    return Program("picamera", "the Pi camera", _rpicam, "rpicam-vid is not installed: sudo apt install rpicam-apps", (
        (
            "no cameras available",
            "the board finds no camera; check the ribbon cable, then rpicam-hello --list-cameras",
        ),
        ("busy|in use|failed to acquire", "the Pi camera is in use by another program; end that program"),
    ))  # fmt: skip


def image_folder(path: Path) -> Program:
    """A folder that others fill."""
    module = [sys.executable, "-m", "lightcl_edge.serve.sources.folder"]
    return Program("folder", str(path), lambda _rate: [*module, str(path)], "", (), live=False, patient=True)


_APT_FFMPEG = "ffmpeg is not installed: sudo apt install ffmpeg"


def _ffmpeg(source: list[str], rate: float) -> list[str]:
    # The first frame of each slot of time. The filter fps would repeat frames of a camera that is slow in the dark.
    picture = (
        f"select='isnan(prev_t)+gt(floor(t*{rate:g}),floor(prev_t*{rate:g}))',scale=w='min({FRAME_WIDTH},iw)':h=-2"
    )
    return ["ffmpeg", "-nostdin", "-hide_banner", "-loglevel", "error", *source, "-an", "-sn", "-dn",
            "-vf", picture, "-fps_mode", "passthrough", "-c:v", "mjpeg", "-q:v", "4", "-threads", "1",
            "-map_metadata", "-1", "-f", "image2pipe", "-flush_packets", "1", "pipe:1"]  # fmt: skip


def _rpicam(rate: float) -> list[str]:
    return ["rpicam-vid", "--nopreview", "--timeout", "0", "--codec", "mjpeg", "--width", str(FRAME_WIDTH),
            "--height", str(FRAME_HEIGHT), "--framerate", f"{max(rate, 1):g}", "--flush", "--output", "-"]  # fmt: skip
