"""Sources with ffmpeg itself: pictures come, programs die and come back, nothing outlives the server."""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

from lightcl_edge.errors import DataError, UsageError
from lightcl_edge.serve.sources import child as child_module
from lightcl_edge.serve.sources.child import ChildSource
from lightcl_edge.serve.sources.contract import FASTEST_RATE, SLOWEST_RATE
from lightcl_edge.serve.sources.opening import open_source
from lightcl_edge.serve.sources.programs import Program
from made_once import made_once
from pictures import jpeg, size_of
from small_video import make_video

needs_ffmpeg = pytest.mark.skipif(not shutil.which("ffmpeg"), reason="ffmpeg is not installed")


@pytest.fixture(scope="session")
def video(tmp_path_factory):
    return made_once(tmp_path_factory, "clip.avi", lambda path: make_video(path.with_suffix(".avi")).rename(path))


@pytest.fixture
def opened():
    """Opens sources and closes them at the end."""
    sources = []

    def add(source):
        sources.append(open_source(str(source)) if isinstance(source, str | Path) else source)
        return sources[-1]

    yield add
    for source in sources:
        source.close()


def until(condition, seconds=10):
    """Wait for a condition; gives its value."""
    end = time.monotonic() + seconds
    while not (value := condition()) and time.monotonic() < end:
        time.sleep(0.01)
    return value


def children_of(pid=None):
    try:
        return [each for each in psutil.Process(pid).children(recursive=True) if each.status() != psutil.STATUS_ZOMBIE]
    except psutil.NoSuchProcess:
        return []


def playing_of(video):
    """The programs of this process that play a video; other tests may have left children of other kinds."""
    return [each for each in children_of() if any(str(video) in word for word in each.cmdline())]


def frames_in(source, seconds):
    end, number, found = time.monotonic() + seconds, 0, []
    while (left := end - time.monotonic()) > 0:
        if frame := source.wait_newer(number, left):
            number = frame.number
            found.append(frame)
    return found


@needs_ffmpeg
def test_a_video_plays_again_and_again_in_real_time_without_metadata(video, opened):
    source = opened(video)
    assert source.wait_newer(0, 15) is not None
    found = frames_in(source, 2.5)
    assert size_of(found[-1].jpeg) == (320, 240)
    assert b"JFIF" not in found[-1].jpeg
    assert b"Lavc" not in found[-1].jpeg
    assert 10 <= len(found) <= 32  # 10 a second, longer than the video of 1 s
    assert abs(found[-1].taken_at - time.time()) < 2
    status = source.status()
    assert (status.kind, status.working, status.message) == ("video", True, "")
    assert 4 < status.frames_per_second < 13
    source.set_rate(3)
    assert 3 <= len(frames_in(source, 2)) <= 9
    assert source.latest().number >= found[-1].number


@needs_ffmpeg
def test_a_slow_reader_gets_the_newest_frame_and_slows_nothing(video, opened):
    source = opened(video)
    first = source.wait_newer(0, 15)
    counted = frames_in(source, 1)  # another reader
    time.sleep(0.5)
    late = source.wait_newer(first.number, 0)
    assert late.number > first.number + len(counted)
    assert time.time() - late.taken_at < 0.5


@needs_ffmpeg
def test_a_killed_program_is_started_again(video, opened, monkeypatch):
    monkeypatch.setattr(child_module, "FIRST_PAUSE_SECONDS", 0.1)
    source = opened(video)
    assert source.wait_newer(0, 15)
    for _ in range(3):
        (program,) = playing_of(video)
        program.send_signal(signal.SIGKILL)
        program.wait(5)
        assert source.wait_newer(source.latest().number, 15)


def test_the_pause_grows_to_a_limit_and_begins_anew_after_a_good_time(opened, tmp_path, monkeypatch):
    monkeypatch.setattr(child_module, "FIRST_PAUSE_SECONDS", 1 / 64)
    monkeypatch.setattr(child_module, "LONGEST_PAUSE_SECONDS", 1 / 8)
    monkeypatch.setattr(child_module, "GOOD_SECONDS", 0.2)
    pauses = []

    class Recording(threading.Event):
        def wait(self, timeout=None):
            pauses.extend([] if timeout is None else [timeout])  # threads wait for their start without one
            return super().wait(timeout)

    monkeypatch.setattr(child_module.threading, "Event", Recording)
    (tmp_path / "frame").write_bytes(jpeg())
    script = f"test -e {tmp_path}/good || exit; for i in 1 2 3 4; do cat {tmp_path}/frame; sleep 0.1; done"
    opened(playing(script))
    assert until(lambda: len(pauses) >= 5)
    assert pauses[:5] == [1 / 64, 1 / 32, 1 / 16, 1 / 8, 1 / 8]
    (tmp_path / "good").touch()
    tried = len(pauses) + 1  # one try may have begun before
    assert until(lambda: 1 / 64 in pauses[tried:])


@needs_ffmpeg
@pytest.mark.parametrize("guarded", [True, False])
def test_nothing_outlives_a_killed_server(video, guarded, tmp_path):
    """Without setpriv the program ends when it writes to nobody."""
    code = (
        "import shutil, sys, time\n"
        "from lightcl_edge.serve.sources.opening import open_source\n"
        "which = shutil.which\n"
        f"shutil.which = lambda name: None if name == 'setpriv' and not {guarded} else which(name)\n"
        "sources = [open_source(each) for each in sys.argv[1:]]\n"
        "print(all(each.wait_newer(0, 30) for each in sources), flush=True)\n"
        "time.sleep(60)\n"
    )
    (tmp_path / "a.jpg").write_bytes(jpeg())
    server = subprocess.Popen(
        [sys.executable, "-c", code, str(video), f"folder:{tmp_path}"], stdout=subprocess.PIPE, text=True
    )
    assert server.stdout.readline() == "True\n"
    programs = children_of(server.pid)
    assert len(programs) == 2
    assert {os.getpgid(each.pid) for each in programs}.isdisjoint({os.getpgid(server.pid)})
    server.kill()
    server.wait()
    server.stdout.close()
    assert psutil.wait_procs(programs, 5)[1] == []


@needs_ffmpeg
def test_closing_ends_the_program_and_wakes_up_who_waits(video, opened):
    source = opened(video)
    assert source.wait_newer(0, 15)
    (program,) = playing_of(video)
    waiting = threading.Thread(target=source.wait_newer, args=(10**9, 60))
    waiting.start()
    source.close()
    waiting.join(5)
    assert not waiting.is_alive()
    assert psutil.wait_procs([program], 5)[1] == []


def playing(script, **options):
    """A source whose program is a shell script."""
    return ChildSource(Program("test", "the test", lambda _rate: ["sh", "-c", script], "", (), **options))


def test_what_a_program_says_last_is_told_in_one_line(opened):
    source = opened(playing("echo first >&2; printf 'rtsp://user:secret@host/x is bad\\033[1m\\n' >&2; exit 3"))
    message = until(lambda: "waiting" not in source.status().message and source.status().message)
    assert message == "the test gives no pictures: rtsp://host/x is bad\\x1b[1m"
    assert not source.status().working


def test_a_program_that_complains_without_end_is_read(opened, tmp_path):
    (tmp_path / "frame").write_bytes(jpeg())
    script = f"yes complaint | head -c 3000000 >&2; cat {tmp_path}/frame; sleep 60"
    assert opened(playing(script)).wait_newer(0, 20)


def test_a_camera_that_got_stuck_is_started_anew(opened, tmp_path, monkeypatch):
    monkeypatch.setattr(child_module, "STUCK_SECONDS", 0.5)
    (tmp_path / "frame").write_bytes(jpeg())
    source = opened(playing(f"cat {tmp_path}/frame; sleep 60"))
    assert source.wait_newer(1, 10)


def test_a_live_camera_is_started_anew_for_another_rate(opened, tmp_path, monkeypatch):
    monkeypatch.setattr(child_module, "RATE_CHANGE_SECONDS", 0.1)
    (tmp_path / "frame").write_bytes(jpeg())
    asked = []

    def command(rate):
        asked.append(rate)
        return ["sh", "-c", f"cat {tmp_path}/frame; sleep 60"]

    source = opened(ChildSource(Program("test", "the test", command, "", ())))
    assert source.wait_newer(0, 10)
    source.set_rate(7)
    time.sleep(0.5)
    assert asked == [10]
    source.set_rate(2)
    assert until(lambda: len(asked) == 2)
    assert asked == [10, 2]


def test_a_program_that_can_not_be_started_is_tried_again(opened, monkeypatch, tmp_path):
    monkeypatch.setattr(child_module, "FIRST_PAUSE_SECONDS", 0.2)
    (tmp_path / "frame").write_bytes(jpeg())
    popen = subprocess.Popen

    def no_memory(*_, **__):
        raise OSError(12, "Cannot allocate memory")

    monkeypatch.setattr(subprocess, "Popen", no_memory)
    source = opened(playing(f"cat {tmp_path}/frame; sleep 60"))
    assert until(lambda: source.status().message == "the test can't be read: Cannot allocate memory")
    monkeypatch.setattr(subprocess, "Popen", popen)
    assert source.wait_newer(0, 10)


def test_rates_have_limits(opened):
    source = opened("none")
    source.set_rate(0)
    assert source.rate == SLOWEST_RATE
    source.set_rate(1000)
    assert source.rate == FASTEST_RATE


@needs_ffmpeg
@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("v4l2:/dev/video77", "no camera at /dev/video77; is it plugged in?"),
        ("v4l2:/dev/null", "/dev/null is no camera; v4l2-ctl --list-devices shows which are"),
        ("{folder}/text.mp4", "{folder}/text.mp4 is no video that ffmpeg can read"),
        ("{folder}/list.m3u8", "{folder}/list.m3u8 is no video that ffmpeg can read"),
        ("rtsp://user:secret@127.0.0.1:1/x", "nothing answers at rtsp://127.0.0.1:1/x; is its RTSP switched on"),
    ],
)
def test_what_is_wrong_is_said_in_plain_words(spec, message, opened, tmp_path):
    (tmp_path / "text.mp4").write_text("no video at all")
    (tmp_path / "list.m3u8").write_text("#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:1/a.ts\n#EXT-X-ENDLIST\n")
    source = opened(spec.format(folder=tmp_path))
    assert until(lambda: source.status().message.startswith(message.format(folder=tmp_path))), source.status()
    assert not source.status().working
    assert "secret" not in source.status().message


def test_a_missing_program_is_named_with_how_to_install_it(opened, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    for spec, name in (("v4l2:/dev/video0", "ffmpeg"), ("picamera", "rpicam-vid")):
        source = opened(spec)
        assert until(lambda source=source, name=name: f"{name} is not installed: sudo apt" in source.status().message)


@pytest.mark.parametrize(
    "spec", ["", "webcam", "v4l2:video0", "v4l2:", "folder:", "rtsp://", "rtsp://[", "no-such.mp4"]
)
def test_a_source_that_does_not_exist_is_a_mistake_of_the_command_line(spec):
    with pytest.raises(UsageError, match=r"expected .*/dev/video0"):
        open_source(spec)


def test_a_password_in_a_wrong_source_is_not_printed(tmp_path):
    with pytest.raises(UsageError) as error:
        open_source("rtmp://user:secret@host/x")
    assert "secret" not in str(error.value)
    with pytest.raises(UsageError, match=f"a folder is written folder:{tmp_path}"):
        open_source(str(tmp_path))


def test_pictures_are_pushed_where_there_is_no_camera(opened):
    source = opened("none")
    assert source.latest() is None
    assert source.wait_newer(0, 0.01) is None
    frame = source.push(jpeg(0, 40, 30, format="PNG"))
    assert frame == source.latest() == source.wait_newer(0, 1)
    assert size_of(frame.jpeg) == (40, 30)
    with pytest.raises(DataError, match="can't be read as an image"):
        source.push(b"no picture")
    assert source.push(jpeg(1)).number == 2
    assert source.status().working
