"""What can be said without emulating: clear refusals, kept work, and how a process enters."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from arm64 import __main__ as command
from arm64 import emulator
from arm64.emulator import Bind, CantEmulateError, Root, missing, usable_handler
from arm64.exercise import Record
from arm64.layers import Layers
from arm64.processors import CORES, PROCESSORS

A53 = PROCESSORS["cortex-a53"]


def test_what_is_missing_is_named_with_the_way_out(tmp_path):
    for program in emulator.PROGRAMS:
        (tmp_path / program).write_text("#!/bin/sh\n")
        (tmp_path / program).chmod(0o755)
    here = {"search": str(tmp_path), "system": "Linux", "binfmt": tmp_path}
    assert missing(user=0, **here) is None
    assert "expected root" in missing(user=1000, **here) and "sudo make test-arm64" in missing(user=1000, **here)
    assert "found Darwin, expected Linux" in missing(user=0, **{**here, "system": "Darwin"})
    (tmp_path / emulator.QEMU).unlink()
    (tmp_path / "debootstrap").unlink()
    assert "apt-get install qemu-user-static debootstrap" in missing(user=0, **here)


def test_a_kernel_without_binfmt_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(emulator, "PROGRAMS", {})
    assert "modprobe binfmt_misc" in missing(user=0, system="Linux", binfmt=tmp_path / "none")


def test_a_kernel_that_takes_no_handler_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(emulator, "BINFMT", tmp_path)
    monkeypatch.setattr(emulator, "missing", lambda: None)
    (tmp_path / "register").mkdir()  # can't be written, even by root
    with pytest.raises(CantEmulateError, match="--privileged"):
        emulator.require()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("enabled\ninterpreter /usr/bin/qemu\nflags: POCF\n", None),
        ("disabled\nflags: F\n", "disabled"),
        ("enabled\nflags: OC\n", "expected F"),
        ("enabled\n", "expected F"),
    ],
)
def test_a_handler_must_work_inside_a_chroot(text, says):
    found = usable_handler(text)
    assert found is None if says is None else says in found


def test_the_command_ends_with_2_and_no_traceback(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["arm64", "--cache", str(tmp_path / "cache"), "--out", str(tmp_path / "out")])
    monkeypatch.setattr(emulator, "missing", lambda: "found an ordinary user, expected root")
    assert command.main() == 2
    assert capsys.readouterr().err == "error: found an ordinary user, expected root\n"
    assert list(tmp_path.iterdir()) == []


def test_a_process_gets_its_environment_and_nothing_else(tmp_path):
    binds = [Bind(tmp_path / "in", "/data"), Bind(tmp_path / "out", "/state", writable=True)]
    root = Root(tmp_path, A53, tmp_path, binds, read_only=True, user=10001, environment={"PATH": "/usr/bin"})
    words = root.command(["lightcl-edge", "doctor"])
    assert words[-2:] == ["lightcl-edge", "doctor"]
    inner = words[words.index("--", words.index("enter")) + 1 :]
    assert inner[:4] == ["env", "-i", "PATH=/usr/bin", "QEMU_CPU=cortex-a53"]
    assert "--userspec=10001:10001" in inner and "--groups=" in inner and "READ_ONLY=yes" in words
    text = shlex.join(words)
    assert f"ro {tmp_path}/in /data rw {tmp_path}/out /state" in text


def test_a_board_s_description_names_its_cores(tmp_path):
    for processor in PROCESSORS.values():
        folder = processor.describe(tmp_path / processor.name)
        text = (folder / "cpuinfo").read_text()
        assert text.count("processor\t:") == CORES and text.count(f"CPU part\t: {processor.part:#05x}\n") == CORES
        assert (folder / "sys/devices/system/cpu/possible").read_text() == f"0-{CORES - 1}\n"
    assert PROCESSORS["cortex-a72"].midr() == 0x410FD083  # of a Raspberry Pi 4
    assert "asimddp" in PROCESSORS["cortex-a76"].features and "asimddp" not in A53.features


def layers_of(cache):
    return Layers(cache, Path(), [], lambda line: None)


def test_a_layer_is_made_once_again_when_its_inputs_change_and_never_half(tmp_path):
    made = []

    def make(root):
        root.mkdir()
        made.append(1)
        if len(made) == 1:
            raise OSError("power cut")
        (root / "file").write_text("x")

    layers = layers_of(tmp_path)
    with pytest.raises(OSError, match="power cut"):
        layers._layer("base", "key", make, "")
    assert (layers._layer("base", "key", make, "") / "file").exists() and len(made) == 2
    assert layers_of(tmp_path)._layer("base", "key", make, "").is_dir() and len(made) == 2
    layers._layer("base", "another", make, "")
    assert len(made) == 3


def test_results_are_kept_until_their_key_changes(tmp_path):
    asked = []

    def do():
        asked.append(1)
        return {"ok": True}

    folder = tmp_path / "machine"
    Record(folder, "a", asked.append).step("verify", do)
    kept = Record(folder, "a", lambda line: None).step("verify", do)
    assert kept["ok"] and asked == ["verify", 1]
    (folder / "state").mkdir()
    Record(folder, "b", lambda line: None).step("verify", do)
    assert asked == ["verify", 1, 1] and not (folder / "state").exists()
