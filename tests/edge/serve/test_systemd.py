"""What systemd is told, as it would hear it, and a unit that it accepts."""

import os
import shutil
import socket
import subprocess

import pytest

from lightcl_edge.serve.systemd import notify, unit, watchdog_seconds


@pytest.mark.parametrize("kind", ["path", "abstract"])
def test_systemd_hears_what_it_is_told(kind, tmp_path, monkeypatch):
    name = str(tmp_path / "notify") if kind == "path" else f"@lightcl-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.bind("\0" + name[1:] if kind == "abstract" else name)
        channel.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", name)
        notify("READY=1")
        assert channel.recv(100) == b"READY=1"


@pytest.mark.parametrize("address", ["", "relative", "/nowhere/at/all", "@nobody-listens"])
def test_without_systemd_nothing_happens(address, monkeypatch):
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    notify("READY=1")


def test_signs_of_life_are_wanted_of_this_process_only(monkeypatch):
    monkeypatch.delenv("WATCHDOG_PID", raising=False)
    for text, seconds in (("60000000", 60.0), ("", None), ("0", None), ("many", None)):
        monkeypatch.setenv("WATCHDOG_USEC", text)
        assert watchdog_seconds() == seconds
    monkeypatch.setenv("WATCHDOG_USEC", "60000000")
    for pid, seconds in ((os.getpid(), 60.0), (os.getpid() + 1, None)):
        monkeypatch.setenv("WATCHDOG_PID", str(pid))
        assert watchdog_seconds() == seconds


def line(text, key):
    (found,) = [each.partition("=")[2] for each in text.splitlines() if each.startswith(f"{key}=")]
    return found


def test_a_unit_writes_only_where_it_must_and_begins_where_its_paths_do(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there").mkdir()
    text = unit(["--state", "there", "--source", "rtsp://u:a$b%c@h/s"], [tmp_path / "there", tmp_path / "new" / "one"])
    assert line(text, "WorkingDirectory") == str(tmp_path)
    assert line(text, "ReadWritePaths") == f"{tmp_path}/there {tmp_path}"  # a missing folder can be made
    assert line(text, "ExecStart").endswith("-m lightcl_edge serve --state there --source rtsp://u:a$$b%%c@h/s")


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd is not installed")
@pytest.mark.parametrize("name", ["state", "our state", 'a"b', "50%c", "it's $HOME", "back\\slash"])
def test_systemd_accepts_the_unit_whatever_the_folder_is_called(name, tmp_path, monkeypatch):
    folder = tmp_path / name
    folder.mkdir()
    monkeypatch.chdir(folder)
    path = tmp_path / "lightcl-edge.service"
    path.write_text(unit(["--state", str(folder), "--source", "v4l2:/dev/video0"], [folder]))
    found = subprocess.run(["systemd-analyze", "verify", str(path)], capture_output=True, text=True, check=False)
    assert (found.returncode, found.stderr) == (0, "")
