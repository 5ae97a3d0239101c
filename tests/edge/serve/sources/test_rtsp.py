"""A camera in the network, which is cut off, falls silent and has a password."""

import shutil
import time

import pytest

from lightcl_edge.serve.sources import child as child_module
from lightcl_edge.serve.sources.opening import open_source
from rtsp_camera import RtspCamera
from small_video import make_video

pytestmark = pytest.mark.skipif(not shutil.which("ffmpeg"), reason="ffmpeg is not installed")


@pytest.fixture(scope="module")
def stream(tmp_path_factory):
    codec = ("-c:v", "mpeg2video", "-g", "5", "-b:v", "800k")
    return make_video(tmp_path_factory.mktemp("rtsp") / "stream.ts", seconds=2, codec=codec).read_bytes()


def test_a_camera_that_is_cut_off_comes_back_without_its_password_being_shown(stream, monkeypatch):
    monkeypatch.setattr(child_module, "FIRST_PAUSE_SECONDS", 0.1)
    camera = RtspCamera(stream, "secret")
    source = open_source(f"rtsp://user:secret@127.0.0.1:{camera.port}/live")
    try:
        frame = source.wait_newer(0, 20)
        assert frame is not None
        assert source.status().working
        camera.cut()
        assert source.wait_newer(frame.number + 5, 20) is not None
        deadline = time.monotonic() + 10
        while camera.plays < 2 and time.monotonic() < deadline:
            time.sleep(0.05)
        assert camera.plays == 2
        assert source.wait_newer(source.latest().number, 20) is not None
    finally:
        source.close()
        camera.close()


def test_a_wrong_password_is_said(stream):
    camera = RtspCamera(stream, "secret")
    source = open_source(f"rtsp://user:wrong@127.0.0.1:{camera.port}/live")
    try:
        deadline = time.monotonic() + 15
        while "refuses" not in source.status().message and time.monotonic() < deadline:
            time.sleep(0.05)
        assert source.status().message == "the camera 127.0.0.1 refuses the user name or the password"
    finally:
        source.close()
        camera.close()
