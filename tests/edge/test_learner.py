"""The programming interface, and the example in its document."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import weakref
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lightcl_edge import Learner
from lightcl_edge.errors import DataError, RejectedError, StateError, UsageError
from lightcl_edge.machine.interrupts import DeferredInterrupt
from lightcl_edge.state.state import State
from small_bundle import COLOURS

DOCUMENT = Path(__file__).parents[2] / "docs" / "builders" / "api.md"


def pictures(name, count, seed=0, side=20):
    rng = np.random.default_rng([seed, len(name)])
    return list(np.clip(rng.normal(COLOURS[name], 60, (count, side, side + 3, 3)), 0, 255).astype(np.uint8))


@pytest.mark.parametrize("strategy", [None, "auto", "slda"])
def test_learn_predict_evaluate(bundle, tmp_path, strategy):
    learner = Learner.open(bundle, tmp_path / "state", strategy=strategy, threads=1)
    assert (learner.classes, learner.generation) == ([], 0)
    with pytest.raises(StateError):
        learner.predict(pictures("red", 1))
    learned = learner.learn(pictures("red", 12) + pictures("green", 12), ["red"] * 12 + ["green"] * 12)
    assert learned.generation == 1 and learned.new_classes == ["green", "red"] == learner.classes
    assert learner.predict(pictures("red", 1, 7))[0].label == "red"
    learner.learn_one(pictures("blue", 1)[0], "blue")
    again = learner.learn(pictures("blue", 9, 3), ["blue"] * 9)
    assert again.new_classes == [] and again.classes == ["green", "red", "blue"] and learner.generation == 3
    found = learner.predict(pictures("blue", 2, 8, side=31))
    assert [each.label for each in found] == ["blue", "blue"]
    assert sum(found[0].probabilities.values()) == pytest.approx(1, abs=1e-5)
    assert found[0].probability == max(found[0].probabilities.values())
    test = [picture for name in learner.classes for picture in pictures(name, 6, 9)]
    evaluation = learner.evaluate(test, [name for name in learner.classes for _ in range(6)])
    assert evaluation.accuracy > 0.9 and evaluation.document()["images"] == 18


def test_a_state_alone_is_enough_and_other_processes_are_seen(bundle, tmp_path):
    first = Learner.open(bundle, tmp_path / "state", threads=1)
    first.learn(pictures("red", 6) + pictures("grey", 6), ["red"] * 6 + ["grey"] * 6)
    second = Learner.open(None, tmp_path / "state", threads=1)
    assert second.predict(pictures("red", 1, 5))[0].label == "red"
    first.learn(pictures("blue", 8), ["blue"] * 8)
    assert second.predict(pictures("blue", 1, 5))[0].label == "blue" and second.generation == 2


def test_options_of_open(bundle, tmp_path):
    learner = Learner.open(bundle, tmp_path / "state", threads=1, buffer_size=4)
    learner.learn(pictures("red", 6) + pictures("grey", 6), ["red"] * 6 + ["grey"] * 6)
    assert len(State(tmp_path / "state").read().buffer["labels"]) == 4
    assert learner.predict([]) == []
    for threads in (0, 10_000):
        with pytest.raises(UsageError, match="the processors there are"):
            Learner.open(bundle, tmp_path / "other", threads=threads)


def test_the_gate_raises_with_its_table(bundle, tmp_path):
    learner = Learner.open(bundle, tmp_path / "state", threads=1)
    names = ["red", "green", "blue"]
    learner.learn([p for name in names for p in pictures(name, 20)], [name for name in names for _ in range(20)])
    with pytest.raises(RejectedError) as caught:
        wrong = [name for name in ("blue", "red", "green") for _ in range(20)]
        learner.learn([p for name in names for p in pictures(name, 20, 1)], wrong)
    assert set(caught.value.details["per_class"]) == set(names) and learner.generation == 1


def test_mistakes_are_named(bundle, tmp_path):
    with pytest.raises(StateError, match="no state"):
        Learner.open(None, tmp_path / "nowhere")
    learner = Learner.open(bundle, tmp_path / "state")
    image = pictures("red", 1)[0]
    for images, labels, words in (
        ([image], ["a", "b"], "1 images and 2 labels"),
        ([], [], "at least one"),
        ([image.astype(np.float32)], ["a"], "image 0 is float32"),
        ([image[..., :2]], ["a"], "expected a Pillow image, or an array of shape"),
        ([image.astype(np.uint16)], ["a"], "uint16 for grey"),
        (image, ["a"], "put a single one into a list"),
        (image[..., 0], ["a"], "put a single one into a list"),
        (Image.fromarray(image), ["a"], "put a single one into a list"),
        ([[1, 2]], ["a"], "image 0 is list"),
        ([image], [3], "label 0 is 3"),
        ([image] * 3, "abc", "the text 'abc'"),
    ):
        with pytest.raises(DataError, match=words):
            learner.learn(images, labels)
    with pytest.raises(UsageError, match="'bgr' for pictures of OpenCV"):
        Learner.open(bundle, tmp_path / "state", channel_order="gbr")
    with pytest.raises(UsageError, match="no strategy 'magic'"):
        Learner.open(bundle, tmp_path / "state", strategy="magic").learn([image], ["a"])


def test_the_example_of_the_document_runs(bundle, tmp_path):
    code = re.search(r"```python\n(.*?)```", DOCUMENT.read_text(), re.S).group(1)
    script = tmp_path / "camera_loop.py"
    script.write_text(code)
    command = [sys.executable, str(script), str(bundle), str(tmp_path / "state")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith("generation 1 knows ['apple', 'plum'], learned by ")
    assert lines[1].startswith("apple") and int(lines[-1].removeprefix("accuracy ").removesuffix("%")) >= 80


def test_importing_the_package_is_light():
    code = "import lightcl_edge, sys; print(lightcl_edge.__version__, 'numpy' in sys.modules, 'PIL' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split()[1:] == ["False", "False"]
    with pytest.raises(AttributeError):
        __import__("lightcl_edge").Teacher  # noqa: B018


def test_a_changed_working_directory_changes_nothing(bundle, tmp_path, monkeypatch):
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    learner = Learner.open(os.path.relpath(bundle), "state", threads=1)
    learner.learn(pictures("red", 6) + pictures("grey", 6), ["red"] * 6 + ["grey"] * 6)
    monkeypatch.chdir(tmp_path / "elsewhere")  # as a daemon does
    assert learner.classes == ["grey", "red"] and learner.generation == 1
    assert learner.learn(pictures("blue", 6), ["blue"] * 6).classes == ["grey", "red", "blue"]
    assert learner.predict(pictures("blue", 1, 5))[0].label == "blue"
    assert not list((tmp_path / "elsewhere").iterdir())


KINDS = {
    "grey": lambda image: image[..., 0],
    "grey with an axis": lambda image: image[..., :1],
    "transparent": lambda image: np.dstack([image, np.full(image.shape[:2], 255, np.uint8)]),
    "Pillow": Image.fromarray,
    "deep grey": lambda image: image[..., 0].astype(np.uint16) * 4 + 28_000,
}


@pytest.mark.parametrize("kind", KINDS)
def test_pictures_of_any_kind_are_taken(bundle, tmp_path, kind):
    learner = Learner.open(bundle, tmp_path / "state", strategy="slda", threads=1)
    bright, dark = pictures("red", 8), pictures("blue", 8)  # told apart by their first channel too
    made = [KINDS[kind](image) for image in bright + dark]
    before = [np.array(image) for image in made]
    learner.learn((image for image in made), (name for name in ["red"] * 8 + ["blue"] * 8))
    found = learner.predict(KINDS[kind](image) for image in pictures("red", 4, 5))
    assert [each.label for each in found] == ["red"] * 4
    assert learner.evaluate(made, ["red"] * 8 + ["blue"] * 8).accuracy > 0.9
    assert all(np.array_equal(old, new) for old, new in zip(before, made, strict=True))  # theirs are not changed


def test_frames_of_opencv_have_their_channels_the_other_way_round(bundle, tmp_path):
    first = Learner.open(bundle, tmp_path / "state", strategy="slda", threads=1)
    first.learn(pictures("red", 8) + pictures("blue", 8), ["red"] * 8 + ["blue"] * 8)
    opencv = Learner.open(None, tmp_path / "state", threads=1, channel_order="bgr")
    frame = pictures("red", 1, 5)[0]
    expected = first.predict([frame])[0].probabilities
    transparent = np.dstack([frame[..., ::-1], np.full(frame.shape[:2], 9, np.uint8)])
    for found in opencv.predict([frame[..., ::-1], transparent, Image.fromarray(frame)]):
        assert found.probabilities == pytest.approx(expected, abs=1e-6)


def test_a_generator_of_frames_is_not_held_in_memory(bundle, tmp_path):
    learner = Learner.open(bundle, tmp_path / "state", strategy="slda", threads=1)
    learner.learn(pictures("red", 6) + pictures("blue", 6), ["red"] * 6 + ["blue"] * 6)
    made, most = [], 0

    class Frame(np.ndarray):
        pass

    def frames():
        nonlocal most
        for image in pictures("red", 40):
            frame = image.view(Frame)
            made.append(weakref.ref(frame))
            most = max(most, sum(each() is not None for each in made))
            yield frame

    assert len(learner.predict(frames())) == 40 and most <= 3


@pytest.mark.parametrize("when", ["training", "committing"])
def test_an_interrupt_stays_an_interrupt(bundle, tmp_path, monkeypatch, when):
    """An application's loop ends on Ctrl-C, also when it comes while a signal waits for the end of a step."""
    from lightcl_edge.learning import train as module
    from lightcl_edge.learning.engines.ort_engine import OrtEngine

    place, name = (OrtEngine, "step") if when == "training" else (module, "commit")
    original = getattr(place, name)

    def with_ctrl_c(*arguments):
        os.kill(os.getpid(), signal.SIGINT)
        return original(*arguments)

    learner = Learner.open(bundle, tmp_path / "state", strategy="replay", engine="ort", threads=1)
    task = pictures("red", 9) + pictures("blue", 9), ["red"] * 9 + ["blue"] * 9
    with monkeypatch.context() as patch:
        patch.setattr(place, name, with_ctrl_c)
        with pytest.raises(KeyboardInterrupt, match="interrupted"):
            learner.learn(*task)
    assert learner.generation == (0 if when == "training" else 1)
    assert learner.learn(*task).generation == learner.generation
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_signals_that_a_program_does_not_handle_are_left_alone():
    with DeferredInterrupt():
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
        assert signal.getsignal(signal.SIGINT) is not signal.default_int_handler


def test_what_is_known_and_going_back(bundle, tmp_path):
    with Learner.open(bundle, tmp_path / "state", strategy="slda", threads=1) as learner:
        with pytest.raises(StateError):
            learner.status()
        learner.learn(pictures("red", 12) + pictures("grey", 12), ["red"] * 12 + ["grey"] * 12)
        learned = learner.learn(pictures("blue", 12), ["blue"] * 12)
        assert learned.images == 12 and learned.notes == []
        assert set(learned.per_class) == {"grey", "red", "blue"} and 0 <= learned.per_class["red"].after <= 1
        status = learner.status()
        assert (status.generation, status.classes, status.tasks) == (2, ["grey", "red", "blue"], 2)
        assert status.bundle.model == "tiny" and status.buffer.samples > 0 and not status.interrupted_task
        assert [(each.generation, each.problem) for each in learner.history().generations] == [(1, None), (2, None)]
        assert learner.predict(pictures("blue", 1, 5))[0].label == "blue"
        assert learner.rollback().generation == 1 == learner.generation
        assert learner.predict(pictures("blue", 1, 5))[0].label != "blue"
        assert learner.rollback(2).classes == ["grey", "red", "blue"]
        foreseen = learner.forget("blue", dry_run=True)
        assert learner.classes == ["grey", "red", "blue"] and foreseen.generations_rewritten == 1
        forgotten = learner.forget("blue")
        assert forgotten.samples_erased == foreseen.samples_erased > 0
        assert forgotten.classes == foreseen.classes == learner.classes == ["grey", "red"]
        assert forgotten.generation == learner.generation != foreseen.generation
        with pytest.raises(UsageError, match="no class 'blue'"):
            learner.forget("blue", dry_run=True)
    assert learner.predict(pictures("red", 1, 5))[0].label == "red"  # closed, it opens again


def test_progress_is_told_and_may_end_the_work(bundle, tmp_path):
    learner, steps = Learner.open(bundle, tmp_path / "state", strategy="replay", threads=1), []
    task = pictures("red", 9) + pictures("blue", 9), ["red"] * 9 + ["blue"] * 9
    learner.learn(*task, progress=steps.append)
    assert {step.stage for step in steps} >= {"images to features", "training epochs"}
    for stage in {step.stage for step in steps}:
        done = [step.done for step in steps if step.stage == stage]
        assert (done == sorted(done) and done[-1] == steps[-1].total) or done[-1] > 0
    steps.clear()
    learner.evaluate(*task, progress=steps.append)
    assert [step.done for step in steps] == list(range(19)) and steps[0].total == 18

    class EnoughError(Exception):
        pass

    def enough(step):
        raise EnoughError

    with pytest.raises(EnoughError):
        learner.learn(pictures("grey", 9), ["grey"] * 9, progress=enough)
    assert learner.generation == 1 and learner.learn(pictures("grey", 9), ["grey"] * 9).generation == 2


def test_every_result_has_a_name_to_import():
    import lightcl_edge

    assert all(getattr(lightcl_edge, name) for name in lightcl_edge.__all__)
