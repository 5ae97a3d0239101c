"""Damaged files of a state: exit code 6 and what to do, or a log that is passed over; never a blocked device."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal

import numpy as np
import pytest

from lightcl_edge.bundle.bundle import Bundle
from lightcl_edge.errors import StateError
from lightcl_edge.files.tensors import read_tensors, write_tensors
from lightcl_edge.learning.checkpoint import Checkpoints, Position
from lightcl_edge.state import journal
from lightcl_edge.state.state import State
from lightcl_edge.state.written_bytes import read_written
from small_bundle import make_bundle, make_folder


@pytest.fixture(scope="module")
def learned(edge, tmp_path_factory):
    """One generation, in ``s``: red and green, from ``a``."""
    folder = tmp_path_factory.mktemp("learned")
    data, bundle = make_folder(folder / "a", ["red", "green"]), make_bundle(folder / "bundle")
    edge("train", "--bundle", bundle, "--state", folder / "s", "--data", data, "--engine", "ort", "--quiet")
    shutil.rmtree(bundle)
    return folder


@pytest.fixture
def taught(learned, tmp_path):
    """A copy of that state and its data."""
    shutil.copytree(learned, tmp_path, dirs_exist_ok=True)
    return State(tmp_path / "s")


def test_numbers_that_are_none_in_small_files(edge, taught):
    (taught.folder / "FORGET").write_text('{"below":1e999,"class":"red"}')
    (taught.folder / "written.json").write_text('{"total_bytes":1e999,"task_bytes":0,"last_task_bytes":0}')
    with (taught.folder / "journal.jsonl").open("a") as file:
        file.write('{"event":"x","time":NaN}\n{"event":"y","time":1e999}\n{"event":"deep","x":' + "[" * 90 + "]" * 90)
        file.write('}\n{"event":"last","time":1}\n')
    edge("status", "--state", taught.folder)
    events = json.loads(edge("history", "--state", taught.folder, "--json")[0])["events"]
    assert events[-1]["event"] == "last" and not {"x", "y", "deep"} & {event["event"] for event in events}
    edge("rollback", "--state", taught.folder, "--to", "0")
    assert not (taught.folder / "FORGET").exists() and taught.numbers() == [1]
    assert any("starts anew" in event["event"] for event in journal.read(taught.folder, 9))
    assert 0 < read_written(taught.folder).total_bytes < 10**6


@pytest.mark.parametrize("content", ["1 999999", "1 1000", "0 7", "999999 999999", "1 999998"])
def test_a_pointer_that_claims_too_much(edge, taught, tmp_path, content):
    (taught.folder / "CURRENT").write_text(content)
    data = make_folder(tmp_path / "b", ["blue"])
    out, _ = edge("train", "--state", taught.folder, "--data", data, "--engine", "ort", "--epochs", "1", "--json")
    assert json.loads(out)["generation"] == 2
    assert json.loads(edge("status", "--state", taught.folder, "--json")[0])["generation"] == 2
    assert (taught.folder / "CURRENT").read_text() == "2 2\n"


def test_a_pipe_in_the_place_of_any_file(bundle, taught, tmp_path):
    """Nothing waits for a writer that never comes; what can't be read is refused in words, or passed over."""
    from lightcl_edge.cli import main

    folder, kept = taught.folder, tmp_path / "kept"
    shutil.copytree(folder, kept)
    names = [path.relative_to(folder) for path in folder.rglob("*") if path.is_file()]
    names += [folder / "CURRENT.new", folder / "trust.json", folder / "FORGET"]
    assert len(names) > 15
    signal.signal(signal.SIGALRM, signal.default_int_handler)
    try:
        for name in names:
            shutil.rmtree(folder)
            shutil.copytree(kept, folder)
            (folder / name).unlink(missing_ok=True)
            os.mkfifo(folder / name)
            signal.alarm(60)
            for command in (
                ("status",),
                ("history",),
                ("predict", tmp_path / "a" / "red" / "0.png"),
                ("train", "--data", tmp_path / "a", "--engine", "ort", "--epochs", "1", "--quiet"),
                ("rollback",),
            ):
                code = main([*map(str, command), "--state", str(folder)])
                assert code in (0, 3, 6, 7), (name, command, code)
            signal.alarm(0)
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)


def forge(taught, name, change):
    """Change tensors of the newest generation and make the record's hash right again."""
    folder = taught.place(taught.numbers()[-1])
    tensors = {key: np.array(tensor) for key, tensor in read_tensors(folder / name, StateError).items()}
    change(tensors)
    write_tensors(folder / name, tensors)
    meta = json.loads((folder / "meta.json").read_text())
    meta["files"][name] = hashlib.sha256((folder / name).read_bytes()).hexdigest()
    (folder / "meta.json").write_text(json.dumps(meta))


def becomes(key, value):
    return lambda tensors: tensors.__setitem__(key, value(tensors[key]))


def filled(number, count=1):
    def change(tensor):
        tensor.reshape(-1)[:count] = number
        return tensor

    return change


HOLDOUT, STRATEGY, BUFFER, HEAD = (f"{name}.safetensors" for name in ("holdout", "strategy", "buffer", "head"))
FORGED = [
    (HOLDOUT, lambda tensors: tensors.pop("features"), "expected ['features', 'labels', 'marks', 'taps']"),
    (HOLDOUT, becomes("labels", lambda labels: labels[:1]), "expected uint8 (1, 16, 4, 4)"),
    (HOLDOUT, becomes("labels", lambda labels: labels - 1), "expected 0 to 1"),
    (HOLDOUT, becomes("labels", lambda labels: labels + 1), "expected 0 to 1"),
    (HOLDOUT, becomes("labels", lambda labels: np.array(1)), "labels is"),
    (HOLDOUT, becomes("features", lambda features: features[:, :8]), "expected uint8"),
    (HOLDOUT, becomes("taps", lambda taps: taps.astype(np.float32)), "expected float16"),
    (HOLDOUT, becomes("taps", filled(np.nan)), "taps holds NaN"),
    (STRATEGY, lambda tensors: tensors.update({"lightcl:other": np.ones(3, bool)}), "mask for 'other'"),
    (STRATEGY, lambda tensors: tensors.update({"lightcl:logits": np.ones(3, bool)}), "expected 6"),
    (BUFFER, becomes("ranks", filled(np.nan)), "expected numbers"),
    (BUFFER, becomes("seen", filled(-4)), "expected numbers"),
    (BUFFER, becomes("seen", lambda seen: np.append(seen, 1)), "counts samples of 3 classes, expected at most 2"),
    (BUFFER, becomes("labels", filled(5)), "do not fit"),
    (BUFFER, becomes("trunk", lambda trunk: trunk[:3]), "no SHA-256"),
    (HEAD, becomes("block.weight", filled(np.nan)), "NaN or infinity"),
    (HEAD, becomes("block.bias", lambda bias: bias[:-1]), "expected ('F32', (32,))"),
    (HEAD, lambda tensors: tensors.pop("block.bias"), "block.bias"),
]


def test_files_of_right_hashes_and_wrong_tensors(edge, taught, tmp_path):
    place, kept = taught.place(1), tmp_path / "kept"
    shutil.copytree(place, kept)
    for name, change, says in FORGED:
        shutil.rmtree(place)
        shutil.copytree(kept, place)
        forge(taught, name, change)
        for command in (
            ("train", "--data", tmp_path / "a", "--engine", "ort"),
            ("forget", "--class", "red"),
            ("status",),
            ("predict", tmp_path / "a" / "red" / "0.png"),
        ):
            message = edge(*command, "--state", taught.folder, code=6)[1]
            assert says in message and f"{name} does not fit" in message and "roll back" in message, (name, message)
    edge("rollback", "--state", taught.folder)
    assert taught.current_number() == 0


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda tensors: tensors.pop("weights"), "expected ['biases'"),
        (becomes("weights", lambda weights: weights[:1]), "expected float32 (2, 48)"),
        (becomes("biases", filled(np.nan)), "NaN"),
        (becomes("temperature", lambda _: np.array(0, np.float32)), "expected a number above 0"),
        (becomes("novelty.own", lambda own: own[:1]), "expected float64 (2,)"),
    ],
)
def test_a_classifier_of_wrong_tensors(edge, taught, tmp_path, change, says):
    forge(taught, "classifier.safetensors", change)
    for command in (
        ("train", "--data", tmp_path / "a", "--engine", "ort"),
        ("forget", "--class", "red"),
        ("predict", tmp_path / "a" / "red" / "0.png"),
    ):
        message = edge(*command, "--state", taught.folder, code=6)[1]
        assert says in message and "classifier does not fit" in message and "roll back" in message, message


@pytest.mark.parametrize(("key", "value"), [("created", 1e20), ("tasks", -1), ("row_scale", 0), ("images", 2**70)])
def test_records_out_of_range(edge, taught, key, value):
    path = taught.place(1) / "meta.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), key: value}))
    assert key in edge("status", "--state", taught.folder, code=6)[1]
    assert "damaged" in edge("history", "--state", taught.folder)[0]


def test_a_checkpoint_of_other_tensors_counts_as_none(bundle, tmp_path):
    head = dict(Bundle.open(bundle).head_parameters())
    checkpoints = Checkpoints(tmp_path, "k")
    checkpoints.save(Position(0, 1, 0.5), head)
    assert checkpoints.load(head) is not None
    for name in ("block.bias", "block.weight"):
        checkpoints.save(Position(0, 2, 0.5), {**head, name: np.full_like(head[name], np.nan)})
        assert checkpoints.load(head) is None
        checkpoints.save(Position(0, 3, 0.5), {**head, name: head[name][:-1]})
        assert checkpoints.load(head) is None


def test_a_damaged_head_that_all_share_is_mended_from_the_bundle(edge, tmp_path):
    bundle, state = make_bundle(tmp_path / "bundle"), tmp_path / "s"
    for name, given in (("red", ("--bundle", bundle)), ("blue", ())):
        data = make_folder(tmp_path / name, [name])
        edge("train", *given, "--state", state, "--data", data, "--strategy", "slda", "--engine", "ort")
    shared = state / "bundle" / "head.safetensors"
    assert shared.stat().st_nlink == 3  # the bundle's copy and two generations
    whole = shared.read_bytes()
    picture = next((tmp_path / "red" / "red").iterdir())
    for damaged, code in ((whole[:-1] + bytes([whole[-1] ^ 1]), 6), (whole[:-9], 3)):
        shared.write_bytes(damaged)
        _, err = edge("predict", "--state", state, picture, code=code)
        assert str(shared.parent) in err and "from" in err, err
        assert ("cp BUNDLE/head.safetensors" in err) == (code == 6)
        shutil.copyfile(bundle / "head.safetensors", shared)  # as cp does: into the same file
        edge("predict", "--state", state, picture)
        edge("rollback", "--state", state)
        edge("rollback", "--state", state, "--to", "2")
