"""Runs under a limit of the kernel's: what is called as planned, and real runs in a control group."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

import limits
from lightcl_edge.machine.memory_limits import MEMORY_RESERVE_BYTES
from lightcl_profiler.measuring.limited_run import COMPLETED, FAILED, KILLED, REFUSED, Attempt, run_limited
from lightcl_profiler.measuring.memory_group import MemoryGroup, NoGroupError
from one_command import run_command

MIB = 2**20
FITS = Attempt("b", "train", "ort", 160 * MIB, 144 * MIB, 100 * MIB, COMPLETED, 0, None, 0, 90 * MIB, 95 * MIB, 1.0)


@pytest.mark.parametrize(
    ("changes", "as_planned"),
    [
        ({}, True),
        ({"outcome": REFUSED, "exit_code": 5}, False),
        ({"plan_bytes": 145 * MIB, "outcome": REFUSED, "exit_code": 5}, True),
        ({"plan_bytes": 145 * MIB}, False),
        ({"kills": 1}, False),
        ({"outcome": KILLED, "exit_code": -9}, False),
        ({"outcome": FAILED, "exit_code": 3}, False),
        ({"plan_bytes": None, "outcome": REFUSED}, False),
        ({"allowed_bytes": 160 * MIB - MEMORY_RESERVE_BYTES + 1}, False),
    ],
)
def test_what_is_as_planned(changes, as_planned):
    assert replace(FITS, **changes).as_planned is as_planned


def _group_or_skip() -> None:
    try:
        MemoryGroup(2**30).close()
    except NoGroupError as error:
        pytest.skip(f"no memory control group can be made here: {error}")


def test_bundles_are_tried_under_every_limit(bundle: Path, tmp_path: Path, capsys, monkeypatch):
    _group_or_skip()
    monkeypatch.setattr(limits, "_PHOTOS", 2)
    options = ["--limit", "256MiB", "--limit", "50MiB", "--engine", "ort", "--strategy", "replay", "--json"]
    monkeypatch.setattr("sys.argv", ["limits", str(bundle), *options])
    monkeypatch.chdir(tmp_path)
    assert run_command(limits.LimitsCommand()) == 0
    document = json.loads(capsys.readouterr().out)
    found = [(each["run"], each["outcome"], each["exit_code"]) for each in document["attempts"]]
    assert document["wrong"] == document["killed"] == 0
    assert found[:3] == [
        ("replay, task 1", COMPLETED, 0), ("replay, task 2", COMPLETED, 0), ("replay, task 1", REFUSED, 5)
    ]  # fmt: skip
    assert [each for each in found if each[0] == "predict"][:2] == [("predict", COMPLETED, 0), ("predict", REFUSED, 5)]
    assert all(each["kills"] == 0 for each in document["attempts"])
    refused = next(each for each in document["attempts"] if each["outcome"] == REFUSED)
    assert refused["plan_bytes"] > refused["allowed_bytes"] and "the plan needs" in refused["message"]


def test_a_killed_run_is_called_so(bundle: Path, tmp_path: Path):
    _group_or_skip()
    # half a bare Python's memory: the kernel ends it before it can plan
    found = run_limited(["status", "--state", str(tmp_path)], 3 * MIB, "b", "status", "ort")
    assert found.outcome == KILLED and not found.as_planned and found.kills != 0


def test_without_groups_the_command_says_so(bundle: Path, monkeypatch, capsys):
    def none(*_: object) -> MemoryGroup:
        raise NoGroupError("this kernel has no memory control group (cgroup)")

    monkeypatch.setattr(limits, "MemoryGroup", none)
    monkeypatch.setattr("sys.argv", ["limits", str(bundle)])
    assert run_command(limits.LimitsCommand()) == 2
    assert "limits can't be tried here: this kernel has no memory control group" in capsys.readouterr().err
