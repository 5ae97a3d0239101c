"""State: whole generations or none, one writer at a time, an interrupted task goes on."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from lightcl_edge.bundle.bundle import Bundle
from lightcl_edge.errors import BusyStateError
from lightcl_edge.state.change import changing
from lightcl_edge.state.generation import KEPT_GENERATIONS, Generation, Meta
from lightcl_edge.state.state import State
from lightcl_edge.state.written_bytes import read_written
from small_bundle import make_folder


@pytest.fixture
def state(bundle, tmp_path):
    """A state with its bundle and nothing learned."""
    made = State(tmp_path / "state")
    with changing(made, create=True) as change:
        change.install_bundle(Bundle.open(bundle))
    return made


def commit(state, number, value=0.0):
    parameters = {name: np.full_like(array, value) for name, array in state.bundle().head_parameters().items()}
    meta = Meta(number, float(number), state.bundle().identity, ["a", "b"], tasks=number)
    with changing(state) as change:
        return change.commit(Generation(meta, parameters, {}, {}, state.read().sums))


def test_generation_zero_is_the_bundle(state):
    generation = state.read()
    assert generation.meta.generation == 0 and generation.meta.classes == []
    assert set(generation.parameters) == set(state.bundle().head_parameters())


def test_commit_and_read_back(state):
    meta = commit(state, 1, 0.5)
    read = state.read()
    assert read.meta == meta and read_written(state.folder).total_bytes > 1000
    assert all((array == 0.5).all() for array in read.parameters.values())


def test_old_generations_are_dropped(state):
    for number in range(1, KEPT_GENERATIONS + 4):
        commit(state, number)
    assert state.numbers() == list(range(4, KEPT_GENERATIONS + 4))


def test_a_generation_without_the_pointer_does_not_count(state):
    commit(state, 1)
    shutil.copytree(state.folder / "generations" / "000001", state.folder / "generations" / "000002")
    assert state.current_number() == 1
    assert state.numbers() == [1] and state.next_number() == 2


@pytest.mark.parametrize("content", [b"", b"garbage", b"\xff\xfe", b"99\n"])
def test_a_garbled_pointer_falls_back_to_the_newest_whole_generation(state, content):
    commit(state, 1, 1.0)
    commit(state, 2, 2.0)
    (state.folder / "CURRENT").write_bytes(content)
    assert state.current_number() == 2
    head = state.folder / "generations" / "000002" / "head.safetensors"
    head.write_bytes(head.read_bytes()[:-1])
    assert state.current_number() == 1


def test_a_half_written_generation_is_not_seen(state):
    commit(state, 1)
    (state.folder / "generations" / "000002.new").mkdir()
    assert state.numbers() == [1] and state.current_number() == 1
    commit(state, 2)
    assert state.numbers() == [1, 2]


def test_one_writer(state):
    with changing(state), pytest.raises(BusyStateError, match=f"pid {os.getpid()}"), changing(state):
        pass
    with changing(state):
        pass


def start_training(bundle, state, data, epochs, engine="ort"):
    command = [sys.executable, "-m", "lightcl_edge", "train", "--bundle", bundle, "--state", state, "--data", data]
    command += ["--strategy", "replay", "--engine", engine, "--epochs", epochs, "--threads", 1, "--json"]
    return subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for(path, process):
    for _ in range(600):
        if path.exists() or process.poll() is not None:
            return
        time.sleep(0.05)


EPOCHS = 2500
CASES = [("ort", signal.SIGINT), ("ort", signal.SIGTERM), ("torch", signal.SIGINT)]


@pytest.mark.parametrize(("engine", "number"), CASES)
def test_a_signal_in_a_step_ends_the_task_after_it_and_the_same_weights_come_out(
    edge, bundle, tmp_path, monkeypatch, engine, number
):
    from lightcl_edge.learning.engines.ort_engine import OrtEngine
    from lightcl_edge.learning.engines.torch_engine import TorchEngine

    kind = TorchEngine if engine == "torch" else OrtEngine
    step, steps = kind.step, []

    def signalled(self, batch):
        steps.append(batch)
        if len(steps) == 5:  # in the middle of the second epoch
            signal.raise_signal(number)
        return step(self, batch)

    state, data = tmp_path / "s", make_folder(tmp_path / "d", ["red", "green"])
    words = (
        "train",
        "--bundle",
        bundle,
        "--data",
        data,
        "--strategy",
        "replay",
        "--engine",
        engine,
        "--epochs",
        "4",
        "--threads",
        "1",
        "--json",
    )
    with monkeypatch.context() as patch:
        patch.setattr(kind, "step", signalled)
        out, err = edge(*words, "--state", state, code=130)
    assert len(steps) == 5 and "interrupted" in err and json.loads(out)["error"]["code"] == 130
    status = json.loads(edge("status", "--state", state, "--json")[0])
    assert status["generation"] == 0 and status["interrupted_task"] is True
    resumed, fresh = (json.loads(edge(*words, "--state", each)[0]) for each in (state, tmp_path / "fresh"))
    assert (resumed["resumed"], fresh["resumed"]) == (True, False)
    assert resumed["loss"] == pytest.approx(fresh["loss"], rel=1e-6)
    heads = [each / "generations" / "000001" / "head.safetensors" for each in (state, tmp_path / "fresh")]
    assert heads[0].read_bytes() == heads[1].read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize(("engine", "number"), CASES)
def test_an_interrupted_process_goes_on_and_ends_in_the_same_weights(edge, bundle, tmp_path, engine, number):
    data = make_folder(tmp_path / "d", ["red", "green"])
    first = 0.7 if engine == "ort" else 4
    for delay in (first, first / 2, first / 4, 0):  # a fast machine may finish before the signal: sooner, then
        shutil.rmtree(tmp_path / "s", ignore_errors=True)
        process = start_training(bundle, tmp_path / "s", data, EPOCHS, engine)
        wait_for(tmp_path / "s" / "work" / "features" / "store.json", process)
        time.sleep(delay)
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
        if process.returncode != 0:
            break
    assert process.returncode == 130 and "interrupted" in err
    assert json.loads(out)["error"]["code"] == 130
    status = json.loads(edge("status", "--state", tmp_path / "s", "--json")[0])
    assert status["generation"] == 0 and status["interrupted_task"] is True
    documents = []
    for name in ("s", "fresh"):
        done = start_training(bundle, tmp_path / name, data, EPOCHS, engine).communicate(timeout=300)
        documents.append(json.loads(done[0]))
    heads = [tmp_path / name / "generations" / "000001" / "head.safetensors" for name in ("s", "fresh")]
    assert heads[0].read_bytes() == heads[1].read_bytes()
    assert documents[1]["resumed"] is False
    assert documents[0]["loss"] == pytest.approx(documents[1]["loss"], rel=1e-6)


def test_after_sigkill_the_state_opens_and_training_completes(edge, bundle, tmp_path):
    data = make_folder(tmp_path / "d", ["red", "green"])
    edge("train", "--bundle", bundle, "--state", tmp_path / "s", "--data", data, "--engine", "ort", "--quiet")
    process = start_training(bundle, tmp_path / "s", data, 2000)
    wait_for(tmp_path / "s" / "work" / "features" / "store.json", process)
    busy = edge("train", "--state", tmp_path / "s", "--data", data, "--engine", "ort", code=6)[1]
    assert f"pid {process.pid}" in busy
    assert edge("predict", "--state", tmp_path / "s", data / "red" / "0.png")[0]
    process.kill()
    process.wait()
    assert json.loads(edge("status", "--state", tmp_path / "s", "--json")[0])["generation"] == 1
    out, _ = edge(
        "train",
        "--state",
        tmp_path / "s",
        "--data",
        data,
        "--engine",
        "ort",
        "--epochs",
        "2",
        "--strategy",
        "replay",
        "--json",
    )
    assert json.loads(out)["generation"] == 2
