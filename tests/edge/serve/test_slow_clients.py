"""Many pages look at once, some read slowly or not at all, and the camera's rate stays as it was."""

import shutil
import socket
import time
from contextlib import ExitStack, suppress
from statistics import median

import pytest

from server_process import BASE, ServerProcess
from small_video import make_video

pytestmark = pytest.mark.skipif(not shutil.which("ffmpeg"), reason="ffmpeg is not installed")


def board(server):
    return server.api.get("/board").json()


def client_of(server, path, stack):
    """A connection that has asked for an answer without an end."""
    made = stack.enter_context(socket.create_connection(("127.0.0.1", server.port), 10))
    made.sendall(f"GET {BASE}{path} HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\n\r\n".encode())
    made.setblocking(False)
    return made


def read(clients, most):
    """Read a little of what has come."""
    for each in clients:
        with suppress(BlockingIOError, ConnectionError):
            each.recv(most)


@pytest.mark.parametrize(
    ("clients", "seconds"), [(24, 3), pytest.param(100, 60, marks=pytest.mark.slow)], ids=["few", "many"]
)
def test_clients_that_do_not_read_slow_neither_the_camera_nor_others(bundle, tmp_path, clients, seconds):
    video = make_video(tmp_path / "room.avi", seconds=2, rate=15, size="640x480", codec=("-c:v", "mpeg4", "-b:v", "4M"))
    with ServerProcess(tmp_path / "state", "--source", video, bundle=bundle) as server, ExitStack() as stack:
        end = time.monotonic() + 30
        while (before := board(server))["frames_per_second"] < 8 and time.monotonic() < end:
            time.sleep(0.2)
        assert before["frames_per_second"] >= 8
        looking = [client_of(server, path, stack) for path in ("/frames/live", "/events") * (clients // 2)]
        end, rates = time.monotonic() + seconds, []
        while time.monotonic() < end:
            read(looking[::3], 2**16)  # as fast as they come
            read(looking[1::3], 100)  # very slowly; the others not at all
            time.sleep(0.1)
            rates.append(board(server)["frames_per_second"])
        during = board(server)
        assert median(rates) >= 7  # of 10: others may use the same machine
        assert 0 < during["clients"] <= clients // 2
        assert during["pss_bytes"] - before["pss_bytes"] < clients * 2**18
        for each in looking:
            each.close()
        end = time.monotonic() + 10
        while (after := board(server))["clients"] and time.monotonic() < end:
            time.sleep(0.1)
        assert after["clients"] == 0
