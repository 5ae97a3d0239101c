"""A full or failing disk at any call: exit code 9, the old generation intact, and the same command works afterwards."""

from __future__ import annotations

import contextlib
import errno
import io

import numpy as np
import pytest

from lightcl_edge.cli import main
from lightcl_edge.files.durable import calls_through
from lightcl_edge.state.state import State
from lightcl_edge.state.work import has_interrupted_task
from power_cut import FailingDisk, Unsynced
from small_bundle import make_folder

DISK = [(errno.ENOSPC, False), (errno.ENOSPC, True), (errno.EIO, False), (errno.EIO, True)]


@pytest.fixture
def task(edge, bundle, tmp_path, monkeypatch):
    """A state after one task, and the next task with a checkpoint after each step."""
    monkeypatch.setattr("lightcl_edge.learning.checkpoint.SECONDS_BETWEEN_CHECKPOINTS", 0.0)
    monkeypatch.setattr("lightcl_edge.learning.checkpoint.SHARE_AT_RISK", 0.0)
    monkeypatch.setattr("lightcl_edge.learning.checkpoint.MOST_CHECKPOINTS", 3)
    state, data = tmp_path / "state", make_folder(tmp_path / "d", ["red", "green"], count=5)
    more = ("--engine", "ort", "--epochs", "2", "--threads", "1", "--quiet")
    with calls_through(Unsynced()):
        edge("train", "--bundle", bundle, "--state", state, "--data", data, *more)

    def run():
        err = io.StringIO()
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(err):
            code = main(["train", "--state", str(state), "--data", str(data), *more])
        return code, err.getvalue()

    return State(state), run


def head_of(state):
    read = state.read()
    return read.meta.generation, {name: np.array(read.parameters[name]) for name in read.parameters}


def same(one, two):
    return one[0] == two[0] and all((one[1][name] == two[1][name]).all() for name in one[1])


def fail_at(state, run, at, code, forever):
    """The next task with a disk that fails at one call; gives whether that call came, and whether the task failed."""
    before, disk = head_of(state), FailingDisk(at, code, forever=forever)
    with calls_through(disk):
        found, err = run()
    after = head_of(state)
    assert found in (0, 9), f"call {at}: exit {found}: {err}"
    if found == 0:
        assert after[0] == before[0] + 1  # only what may fail without harm did: the journal, dropping what is old
    elif forever:
        assert after[0] in (before[0], before[0] + 1)  # whole in any case: head_of checks the hashes
    else:
        assert same(before, after), f"call {at}"
    assert found == 0 or "input/output failed" in err
    return disk.failures > 0, found == 9


def check(state, run, calls):
    """Each call fails in turn; the same command then works."""
    outcomes = {True: 0, False: 0}
    for at, (code, forever) in calls:
        reached, failed = fail_at(state, run, at, code, forever)
        outcomes[failed] += reached
        before = state.current_number()
        with calls_through(Unsynced()):
            assert run()[0] == 0, f"call {at}"
        assert state.current_number() == before + 1
        assert not [p for p in state.folder.rglob("*") if p.suffix in (".new", ".old")]
        assert state.numbers_on_disk() == state.numbers() and not has_interrupted_task(state)
    return outcomes


def number_of_calls(run):
    disk = FailingDisk(10**9, errno.EIO, forever=False)
    with calls_through(disk):
        run()
    return disk.calls


def test_the_disk_fails_at_some_calls_of_a_training(task):
    state, run = task
    calls = number_of_calls(run)
    outcomes = check(state, run, [(at, DISK[turn % 4]) for turn, at in enumerate(range(1, calls, calls // 6))])
    assert outcomes[True] >= 3, outcomes


@pytest.mark.slow
def test_the_disk_fails_at_any_call_of_a_training(task):
    state, run = task
    calls = number_of_calls(run)
    outcomes = check(state, run, [(at, way) for at in range(calls) for way in DISK])
    assert outcomes[True] > 2 * calls, outcomes
