"""Damaged files of a state: exit code 6 and what to do, or a log that is passed over; never a blocked device."""

from __future__ import annotations

import json

import pytest

from lightcl_edge import journal
from lightcl_edge.state import State
from small_bundle import make_folder


@pytest.fixture
def taught(edge, bundle, tmp_path):
    """One generation: red and green."""
    data = make_folder(tmp_path / "a", ["red", "green"])
    edge("train", "--bundle", bundle, "--state", tmp_path / "s", "--data", data, "--engine", "ort", "--quiet")
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
    assert 0 < taught.written().total_bytes < 10**6


@pytest.mark.parametrize("content", ["1 999999", "1 1000", "0 7", "999999 999999", "1 999998"])
def test_a_pointer_that_claims_too_much(edge, taught, tmp_path, content):
    (taught.folder / "CURRENT").write_text(content)
    data = make_folder(tmp_path / "b", ["blue"])
    out, _ = edge("train", "--state", taught.folder, "--data", data, "--engine", "ort", "--epochs", "1", "--json")
    assert json.loads(out)["generation"] == 2
    assert json.loads(edge("status", "--state", taught.folder, "--json")[0])["generation"] == 2
    assert (taught.folder / "CURRENT").read_text() == "2 2\n"
