"""The spool: every image is learned once, whatever happens in between."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from lightcl_edge.cli import main
from lightcl_edge.data.spool import Spool
from lightcl_edge.learning import watcher
from lightcl_edge.state.state import State
from small_bundle import make_folder

TRAIN = "--engine ort --epochs 2 --threads 1"


class InThisProcess:
    """Stands for ``subprocess.Popen``: the trainer's command, run in the tests' own process."""

    def __init__(self, command, **_):
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            self.returncode = main(command[3:])
        self.said = out.getvalue().encode(), err.getvalue().encode()

    def communicate(self):
        return self.said


@pytest.fixture
def here(monkeypatch):
    """Trainers do not start processes, which take ten times as long as so small a training."""
    monkeypatch.setattr(watcher, "subprocess", SimpleNamespace(Popen=InThisProcess, PIPE=None))


def watch(edge, spool, state, *more, code=0):
    common = ("--settle", "0", "--interval", "0.05", "--train", TRAIN)
    return edge("watch", spool, "--state", state, "--once", *common, *more, code=code)


def names(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_what_is_dropped_is_learned_and_filed(edge, bundle, tmp_path):
    spool, state = make_folder(tmp_path / "spool", ["red", "green"], count=6), tmp_path / "s"
    document = json.loads(watch(edge, spool, state, "--bundle", bundle, "--json")[0])
    assert (document["images"], document["batches"], document["generation"]) == (12, 1, 1)
    assert len(names(spool / ".learned" / "000001")) == 12 and names(spool / "red") == []
    make_folder(spool, ["blue"], count=5)
    watch(edge, spool, state)
    assert State(state).read().meta.classes == ["green", "red", "blue"]
    assert json.loads(watch(edge, spool, state, "--json")[0])["batches"] == 0


def test_a_batch_that_was_committed_before_a_crash_is_not_learned_again(edge, bundle, here, tmp_path):
    spool, state = make_folder(tmp_path / "spool", ["red", "green"], count=6), tmp_path / "s"
    watch(edge, spool, state, "--bundle", bundle)
    (spool / ".learned" / "000001").rename(spool / ".learning")  # as if the power went before it was filed
    assert json.loads(watch(edge, spool, state, "--json")[0])["generation"] == 1
    assert State(state).numbers() == [1] and len(names(spool / ".learned" / "000001")) == 12
    edge("rollback", "--state", state)
    (spool / ".learned" / "000001").rename(spool / ".learning")  # somebody wants it learned again
    assert json.loads(watch(edge, spool, state, "--json")[0])["generation"] == 2


def test_after_a_class_was_forgotten_its_images_are_learned_again(edge, bundle, here, tmp_path):
    spool, state = make_folder(tmp_path / "spool", ["red", "green"], count=6), tmp_path / "s"
    watch(edge, spool, state, "--bundle", bundle)
    edge("forget", "--state", state, "--class", "red")
    for name in ("red", "green"):
        (spool / name).rmdir()
        (spool / ".learned" / "000001" / name).rename(spool / name)
    document = json.loads(watch(edge, spool, state, "--json")[0])
    assert (document["images"], document["known_images"]) == (12, 0)
    assert set(State(state).read().meta.classes) == {"red", "green"}


def test_a_batch_that_is_dropped_again_is_filed_where_it_was_taught_and_said_so(edge, bundle, here, tmp_path):
    spool, state = make_folder(tmp_path / "spool", ["red", "green"], count=6), tmp_path / "s"
    watch(edge, spool, state, "--bundle", bundle)
    make_folder(spool, ["blue"], count=6)
    watch(edge, spool, state)
    make_folder(spool, ["red", "green"], count=6)  # the same twelve
    out, told = watch(edge, spool, state)
    assert "not learned again: generation 1 was taught" in told and "nothing was learned, 12 known before" in out
    assert names(spool / ".learned" / "000001-1") and State(state).current_number() == 2


def test_a_state_that_can_not_be_written_leaves_the_images_where_they_are(edge, bundle, here, tmp_path, monkeypatch):
    spool, state = make_folder(tmp_path / "spool", ["red"], count=6), tmp_path / "s"
    monkeypatch.setattr("lightcl_edge.state.lock.os.access", lambda path, mode: Path(path) != tmp_path)
    assert "can't be written" in watch(edge, spool, state, "--bundle", bundle, code=6)[1]
    assert len(names(spool / "red")) == 6 and not (spool / ".learning").exists()


def test_it_says_what_waits_and_what_it_passes_over(edge, bundle, here, tmp_path):
    spool, state = make_folder(tmp_path / "spool", ["red", "green"], count=6), tmp_path / "s"
    (spool / "loose.jpg").write_bytes(b"x")
    (spool / "red" / "notes.txt").write_bytes(b"x")
    (spool / "red" / "torn.png").write_bytes(b"x")
    told = watch(edge, spool, state, "--bundle", bundle)[1]
    assert "13 images there" in told and "1 file that is no image (.txt 1); 1 image beside the class folders" in told
    assert "1 image set aside: " in told and "torn.png can't be read as an image" in told and "and others" not in told
    assert told.count("not used") == 1


def test_what_can_not_be_learned_is_set_aside(edge, bundle, here, tmp_path):
    spool, state = make_folder(tmp_path / "spool", ["red", "green"], count=6), tmp_path / "s"
    (spool / "red" / "torn.png").write_bytes((spool / "red" / "0.png").read_bytes()[:-60])
    watch(edge, spool, state, "--bundle", bundle)
    assert names(spool / ".set-aside" / "unreadable") == ["red/torn.png"]
    for name in ("a", "b", "c", "d", "e"):  # the tiny classifier has six rows
        (spool / name).mkdir()
        Image.fromarray(np.full((9, 9, 3), 77, np.uint8)).save(spool / name / "1.png")
    watch(edge, spool, state)
    assert State(state).read().meta.classes == ["green", "red", "a", "b", "c", "d"]
    assert names(spool / ".set-aside" / "no-room") == ["e/1.png"]


def test_mistakes_on_the_command_line_leave_the_images_alone(edge, bundle, here, tmp_path):
    spool, state = make_folder(tmp_path / "spool", ["red", "green"], count=2), tmp_path / "s"
    before = names(spool)
    assert "this command itself does" in watch(edge, spool, state, "--train", "--state x", code=2)[1]
    assert "no folder at" in watch(edge, tmp_path / "none", state, code=4)[1]
    assert "name a --bundle" in watch(edge, spool, state, code=6)[1]
    assert len(names(spool)) == len(before) and not (spool / ".set-aside").exists()
    watch(edge, spool, state, "--bundle", bundle, "--delete-learned")
    assert names(spool) == [] and State(state).current_number() == 1


@pytest.mark.parametrize("kills", [3, pytest.param(40, marks=pytest.mark.slow)])
def test_killed_again_and_again_it_loses_no_image_and_learns_none_twice(bundle, tmp_path, kills):
    """Kill watcher and trainer at random instants while images keep coming; count images by generation."""
    spool, state, rng = tmp_path / "spool", tmp_path / "s", np.random.default_rng(kills)
    make_folder(spool, ["red", "green"], count=4)
    command = [sys.executable, "-m", "lightcl_edge", "watch", spool, "--state", state, "--bundle", bundle]
    command += ["--settle", "0.1", "--interval", "0.05", "--min-images", "3", "--max-wait", "0.2"]
    command += ["--train", "--engine ort --epochs 40 --threads 1 --max-forgetting 1"]
    dropped = 8
    for turn in range(kills):
        child = subprocess.Popen(list(map(str, command)), stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        time.sleep(0.6 + float(rng.random()) * 3)
        Image.fromarray(rng.integers(0, 256, (9, 9, 3)).astype(np.uint8)).save(spool / "red" / f"new-{turn}.png")
        dropped += 1
        running = [int(p.name) for p in Path("/proc").iterdir() if p.name.isdigit()]
        trainers = [pid for pid in running if _child_of(pid, child.pid)]
        for pid in [child.pid, *(trainers if rng.random() < 0.7 else [])]:  # else the trainer lives on, with the lock
            os.kill(pid, signal.SIGKILL)
        child.wait()
    subprocess.run([*map(str, command), "--once", "--quiet"], check=True, timeout=300)
    learned = names(spool / ".learned")
    assert len(learned) == dropped and len({name.partition("/")[2] for name in learned}) == dropped
    assert names(spool / ".learning") == [] if (spool / ".learning").exists() else True
    metas = [State(state).meta(number) for number in State(state).numbers()]
    assert metas[-1].tasks == len(list((spool / ".learned").iterdir())) == len(set(metas[-1].sources))


def _child_of(pid, parent):
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1]) == parent
    except OSError:
        return False


def test_a_class_folder_that_a_kill_left_empty_does_not_spoil_the_batch(edge, bundle, here, tmp_path):
    spool, state = make_folder(tmp_path / "spool" / ".learning", ["red"], count=6).parent, tmp_path / "s"
    (spool / ".learning" / "green").mkdir()
    document = json.loads(watch(edge, spool, state, "--bundle", bundle, "--json")[0])
    assert (document["images"], document["set_aside_images"]) == (6, 0)


def test_other_images_under_the_same_names_are_learned_too(edge, bundle, here, tmp_path):
    spool, state = tmp_path / "spool", tmp_path / "s"
    for value in (40, 200):
        for name in ("a", "b"):
            (spool / name).mkdir(parents=True, exist_ok=True)
            for index in range(3):
                path = spool / name / f"{index}.bmp"
                Image.new("RGB", (9, 9), (value, index, len(name))).save(path)
                os.utime(path, (0, 0))
        watch(edge, spool, state, "--bundle", bundle, "--train", TRAIN + " --max-forgetting 1")
    assert State(state).read().meta.tasks == 2


def test_a_batch_on_which_the_trainer_breaks_is_set_aside_in_the_end(edge, bundle, here, tmp_path, monkeypatch):
    from lightcl_edge.learning.watcher import Watcher

    spool, state = make_folder(tmp_path / "spool", ["red", "green"], count=3), tmp_path / "s"
    tried = []
    monkeypatch.setattr(Watcher, "_train", lambda *_: tried.append(0) or ([1, -9][len(tried) % 2], {}, "OddError: x"))
    out, err = watch(edge, spool, state, "--bundle", bundle, "--json")
    assert len(tried) == 3 and json.loads(out)["set_aside_images"] == 6 and "(2 of 3)" in err
    assert len(names(spool / ".set-aside" / "failed")) == 6 and not (spool / ".tries").exists()
    assert "killed by signal 9 (OddError: x), 3 times" in (spool / ".set-aside" / "failed.txt").read_text()


def test_tries_are_counted_across_restarts(tmp_path):
    spool = Spool(make_folder(tmp_path / "spool", ["red"], count=2), settle_seconds=0)
    spool.take(list(spool.ready()))
    assert [Spool(spool.folder, 0).count_try() for _ in range(3)] == [1, 2, 3]
    make_folder(spool.learning, ["blue"], count=1)
    assert spool.count_try() == 1


def test_the_kind_of_an_error_decides_and_not_its_words(edge, bundle, here, tmp_path, monkeypatch):
    from lightcl_edge.learning.watcher import Watcher

    spool, state = make_folder(tmp_path / "spool", ["red", "green"], count=3), tmp_path / "s"
    answers = [(6, "BusyStateError"), (6, "StateChangedError"), (2, "ClassifierFullError")]
    left = iter(answers)

    def answer(*_):
        code, kind = next(left)
        return code, {"error": {"kind": kind, "message": "in other words"}}, ""

    monkeypatch.setattr(Watcher, "_train", answer)
    told = watch(edge, spool, state, "--bundle", bundle)[1]
    assert told.count("waiting: in other words") == 2 and "6 images set aside: in other words" in told
    assert len(names(spool / ".set-aside" / "refused")) == 6


def test_it_tells_of_each_batch_and_of_nothing_to_do(edge, bundle, here, tmp_path):
    spool, state = make_folder(tmp_path / "spool", ["red", "green"], count=12), tmp_path / "s"
    nothing = make_folder(tmp_path / "empty", ["red"], count=0)
    assert watch(edge, nothing, state, "--bundle", bundle)[0] == "nothing was learned; the state knows no class yet\n"
    out, told = watch(edge, spool, state, "--bundle", bundle)
    assert re.search(r"generation 1: learned 12 of green, 12 of red in \d+\.\d s, held-out accuracy \d+\.\d%", told)
    assert out == "24 images learned in 1 round; generation 1 knows 2 classes\n"
    assert watch(edge, nothing, state)[0] == "nothing was learned; generation 1 knows 2 classes\n"


def test_notes_of_a_training_are_passed_on(edge, bundle, here, tmp_path):
    spool = make_folder(tmp_path / "spool", ["red", "green"], count=6)
    (spool / "red").rename(spool / "Green")
    assert "are two classes" in watch(edge, spool, tmp_path / "s", "--bundle", bundle)[1]


def test_ignored_files_are_told_when_they_come(edge, bundle, here, tmp_path, monkeypatch):
    monkeypatch.setattr("lightcl_edge.data.image_folders.reads_heif", lambda: False)
    spool, state = make_folder(tmp_path / "spool", ["red", "green"], count=6), tmp_path / "s"
    original = watcher.Watcher._learn_batch

    def learn_batch(self):
        (spool / "red" / "phone.heic").write_bytes(b"x")
        original(self)

    monkeypatch.setattr(watcher.Watcher, "_learn_batch", learn_batch)
    told = watch(edge, spool, state, "--bundle", bundle)[1]
    assert told.count("1 file that is no image (.heic 1; convert HEIC") == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_normal_stop_is_no_error(edge, bundle, here, tmp_path, monkeypatch, number):
    spool, state = make_folder(tmp_path / "spool", ["red", "green"], count=6), tmp_path / "s"
    words = ("watch", spool, "--state", state, "--bundle", bundle, "--settle", "0", "--interval", "0.05")

    def asleep(_):
        if State(state).exists():
            os.kill(os.getpid(), number)

    monkeypatch.setattr(watcher.time, "sleep", asleep)
    out = edge(*words, "--min-images", "12", "--train", TRAIN)[0]
    assert out == "12 images learned in 1 round; generation 1 knows 2 classes\n"


def test_a_stop_in_the_middle_of_a_batch_keeps_it(edge, bundle, here, tmp_path, monkeypatch):
    spool, state = make_folder(tmp_path / "spool", ["red", "green"], count=6), tmp_path / "s"
    words = ("watch", spool, "--state", state, "--bundle", bundle, "--settle", "0", "--interval", "0.05")

    def stopped(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(watcher.Watcher, "_train", stopped)
        out = edge(*words, "--min-images", "12", "--train", TRAIN)[0]
        assert out == "nothing was learned, 12 go on with the next start; the state knows no class yet\n"
        edge(*words, "--once", "--train", TRAIN, code=130)
    assert json.loads(watch(edge, spool, state, "--bundle", bundle, "--json")[0])["images"] == 12
