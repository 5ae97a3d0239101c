"""Heat is noticed and reported, and ``--cool`` pauses for it, on a made-up board."""

from __future__ import annotations

import json
import os

import pytest

from lightcl_edge.learning.engines import trial
from lightcl_edge.machine import cooling
from lightcl_edge.machine import health as board_health
from lightcl_edge.machine.cooling import Cooler, health_line
from lightcl_edge.machine.health import Health, look
from lightcl_edge.state import overview
from small_bundle import make_folder

PI = "proc/device-tree/model"
ZONE = "sys/class/thermal/thermal_zone0/temp"
FIRMWARE = "sys/devices/platform/soc/soc:firmware/get_throttled"


def board(root, **files):
    """A tree as kernels show it; ``__`` is ``/``, given by keyword or as a dict."""
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def test_the_firmwares_file_is_put_in_words(tmp_path):
    found = look(board(tmp_path, **{FIRMWARE: "4", ZONE: "81500"}))
    assert found.throttled == "throttled now" and found.slowed_by_heat and found.temperature_celsius == 81.5
    found = look(board(tmp_path, **{FIRMWARE: "50001"}))
    assert found.throttled == "under-voltage now, under-voltage since the start, throttled since the start"
    assert not found.slowed_by_heat  # a weak supply: a pause does not help
    assert look(board(tmp_path, **{FIRMWARE: "0"})).throttled == "no"


@pytest.mark.parametrize(
    ("script", "expected"),
    [("echo throttled=0x8", "at its temperature limit now"), ("echo throttled=0x0", "no"), ("exit 1", None)],
)
def test_a_raspberry_pi_without_the_file_is_asked_by_vcgencmd(tmp_path, monkeypatch, script, expected):
    program = tmp_path / "bin" / "vcgencmd"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\n[ $1 = get_throttled ] && {script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    root = board(tmp_path / "root", **{PI: "Raspberry Pi 4 Model B Rev 1.4\0"})
    assert look(root).throttled == expected
    assert look(board(tmp_path / "other", **{PI: "NVIDIA Jetson Nano\0"})).throttled is None
    monkeypatch.setenv("PATH", str(tmp_path))
    assert look(root).throttled is None


def test_the_kernels_own_cooling_counts(tmp_path):
    device = "sys/class/thermal/cooling_device"
    files = {f"{device}0/type": "pwm-fan", f"{device}0/cur_state": "3"}
    assert look(board(tmp_path, **files)).throttled is None
    files = {f"{device}1/type": "cpufreq-cpu0", f"{device}1/cur_state": "0"}
    assert look(board(tmp_path, **files)).throttled == "no"
    found = look(board(tmp_path, **{f"{device}1/cur_state": "2"}))
    assert found.throttled == "clock lowered by the kernel now" and found.slowed_by_heat


class Board:
    """A clock that only sleeping and working move, and a temperature that follows."""

    def __init__(self, *degrees, throttled=None, events=None):
        self.now, self.degrees, self.throttled, self.events = 0.0, list(degrees), throttled, events
        self.notes = []

    def look(self):
        degrees = self.degrees.pop(0) if len(self.degrees) > 1 else self.degrees[0]
        return Health(None, degrees, self.events, self.throttled)

    def sleep(self, seconds):
        self.now += seconds

    def cooler(self, limit=75.0):
        return Cooler(limit, self.notes.append, self.look, lambda: self.now, self.sleep)


def test_it_pauses_until_five_degrees_below():
    fake = Board(60.0, 76.0, 74.0, 72.0, 70.5, 69.5, 60.0)
    cooler = fake.cooler()
    cooler.between_steps()
    assert fake.now == 0.0  # not yet time to look
    fake.now = 2.0
    cooler.between_steps()
    assert (cooler.pauses, cooler.paused_seconds) == (1, 2.0)  # 74, 72, 70.5, 69.5
    assert fake.notes == ["pausing to cool down: 76.0 °C, throttled: unknown"]
    document = cooler.document()
    assert (document["pauses"], document["paused_seconds"], document["slowed_down"]) == (1, 2.0, False)


def test_pauses_are_bounded_and_work_goes_on_between_them():
    fake = Board(90.0)
    cooler = fake.cooler()
    for _ in range(40):
        fake.now += 1.0  # a step
        cooler.between_steps()
    assert cooler.pauses == 8 and cooler.paused_seconds == 8 * 60.0  # after 2 s, then after every 5


def test_throttling_pauses_whatever_the_temperature():
    fake = Board(50.0, throttled="throttled now")
    cooler = fake.cooler()
    fake.now = 2.0
    cooler.between_steps(lambda: fake.now > 10)
    assert cooler.pauses == 1 and 8 <= cooler.paused_seconds < 10  # ended early: asked to stop
    assert cooler.document()["slowed_down"] is True
    fake = Board(50.0, events=4)
    cooler = fake.cooler()
    fake.now, fake.events = 2.0, 5
    cooler.between_steps()
    assert (cooler.pauses, cooler.paused_seconds) == (1, 0.5)


def test_without_sensors_it_says_so_and_never_pauses():
    notes = []
    cooler = Cooler(75.0, notes.append, lambda: Health(10**9, None, None, None))
    assert notes == ["no sensor for heat can be read here, so --cool can't pause"]
    cooler._next = 0.0
    cooler.between_steps()
    assert cooler.pauses == 0


def test_without_a_limit_it_only_watches():
    fake = Board(99.0, throttled="throttled now")
    cooler = fake.cooler(None)
    fake.now = 100.0
    cooler.between_steps()
    assert cooler.pauses == 0 and cooler.document()["slowed_down"] is True and fake.notes == []


def test_train_pauses_and_reports(edge, bundle, tmp_path, monkeypatch):
    data, state = make_folder(tmp_path / "d", ["red", "green"]), tmp_path / "s"
    hot = Health(None, 80.0, None, "throttled now")
    monkeypatch.setattr(cooling, "LOOK_SECONDS", 0.0)
    monkeypatch.setattr(cooling, "WORK_BETWEEN_SECONDS", 1000.0)  # however slow this machine is
    monkeypatch.setattr(cooling, "LONGEST_PAUSE_SECONDS", 0.05)
    monkeypatch.setattr(cooling, "SLICE_SECONDS", 0.01)
    monkeypatch.setattr(Cooler.__init__, "__defaults__", (lambda: hot, *Cooler.__init__.__defaults__[1:]))
    words = ("train", "--bundle", bundle, "--data", data)
    document, err = edge(*words, "--state", state, "--cool", "--json")
    health = json.loads(document)["health"]
    assert health["pauses"] == 1 and health["paused_seconds"] >= 0.05 and health["cool_at_celsius"] == 75.0
    assert health["slowed_down"] is True and "pausing to cool down: 80.0 °C, throttled: throttled now" in err
    text, _ = edge(*words, "--state", tmp_path / "s2", "--cool-at", "60")
    assert "paused 1 time to cool down" in text and "slowed down while it learned (throttled now)" in text
    text, _ = edge(*words, "--state", tmp_path / "s3")
    assert "paused" not in text and "--cool pauses when it is hot" in text
    edge(*words, "--state", state, "--cool-at", "500", code=2)


def test_pauses_change_nothing_that_is_learned(edge, bundle, tmp_path, monkeypatch):
    data = make_folder(tmp_path / "d", ["red", "green"])
    monkeypatch.setattr(cooling, "LOOK_SECONDS", 0.0)
    monkeypatch.setattr(cooling, "WORK_BETWEEN_SECONDS", 0.0)
    monkeypatch.setattr(cooling, "LONGEST_PAUSE_SECONDS", 0.01)
    hot = Health(None, 99.0, None, None)
    monkeypatch.setattr(Cooler.__init__, "__defaults__", (lambda: hot, *Cooler.__init__.__defaults__[1:]))
    for name, options in (("plain", ()), ("cooled", ("--cool",))):
        edge("train", "--bundle", bundle, "--data", data, "--state", tmp_path / name, *options)
    heads = [(tmp_path / name / "generations/000001/head.safetensors").read_bytes() for name in ("plain", "cooled")]
    assert heads[0] == heads[1]


def test_status_and_doctor_tell(edge, bundle, tmp_path, monkeypatch):
    hot = Health(600_000_000, 82.4, None, "throttled now")
    for module in (board_health, overview):
        monkeypatch.setattr(module, "look", lambda: hot)
    data, state = make_folder(tmp_path / "d", ["red", "green"]), tmp_path / "s"
    edge("train", "--bundle", bundle, "--data", data, "--state", state)
    assert "board at 82.4 °C, throttled: throttled now" in edge("status", "--state", state)[0]
    assert json.loads(edge("status", "--state", state, "--json")[0])["health"]["temperature_celsius"] == 82.4
    monkeypatch.setattr(trial, "try_engine", lambda name: trial.Trial(True, name, None))
    assert "board at 82.4 °C" in edge("doctor")[0]


def test_lines_of_what_is_known():
    nothing = {"temperature_celsius": None, "throttled": None, "throttle_events": None}
    assert health_line(nothing) is None
    assert health_line({**nothing, "throttle_events": 3}) == "board throttled 3 times since its start"


def test_watch_hands_it_on_to_its_trainings(edge, tmp_path, monkeypatch):
    from lightcl_edge.learning import watcher

    given = []

    class Fake:
        def __init__(self, spool, options, progress):
            given.append(options.train_arguments)

        def run(self):
            counts = dict.fromkeys(("images", "batches", "known_images", "set_aside_images", "unfinished_images"), 0)
            return {**counts, "generation": 0, "classes": [], "spool": str(tmp_path)}

    monkeypatch.setattr(watcher, "Watcher", Fake)
    words = ("watch", tmp_path, "--state", tmp_path / "s", "--train", "--epochs 2")
    for options in ((), ("--cool",), ("--cool-at", "60")):
        edge(*words, *options)
    assert given == [["--epochs", "2"], ["--epochs", "2", "--cool-at", "75.0"], ["--epochs", "2", "--cool-at", "60.0"]]
