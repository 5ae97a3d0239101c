"""The table of networks that go all the way."""

from __future__ import annotations

import json

import pytest

from one_command import run_command
from zoo import ZooCommand, cells, read_rows, write_reports
from zoo_files import ODD_FILES
from zoo_member import try_member


@pytest.mark.parametrize("name", ["attention by hand", "convolution as classifier"])
def test_an_odd_file_goes_from_its_cuts_to_predictions_on_both_engines(tmp_path, name):
    def write(folder):
        ODD_FILES[name](folder / "odd.onnx")
        return str(folder / "odd.onnx")

    rows = []
    try_member(write, tmp_path, lambda row: rows.append(dict(row)))
    last = rows[-1]
    assert last["stage"] == "done", last
    assert last["trainable"] >= 1 and last["ort"] and last["torch"]
    assert last["difference"] < 1e-4 and last["engines_differ"] < 1e-3


def test_a_failure_is_recorded_with_its_stage_and_reason(tmp_path):
    rows = []
    try_member(lambda folder: str(folder / "none.onnx"), tmp_path, lambda row: rows.append(dict(row)))
    assert rows[-1]["stage"] == "open" and "none.onnx" in rows[-1]["reason"]


def test_members_that_are_known_are_not_tried_again(tmp_path, monkeypatch, capsys):
    known = {"family": "file plain", "member": "plain.onnx", "stage": "done", "seconds": 1.0}
    failed = {"family": "file float16", "member": None, "stage": "open", "seconds": 2.0, "reason": "a | b"}
    (tmp_path / "zoo.jsonl").write_text("\n".join(map(json.dumps, [known, failed])))
    monkeypatch.setattr("sys.argv", ["zoo", "--out", str(tmp_path), "--only", "file plain,file float16"])
    assert run_command(ZooCommand()) == 0
    assert "file 1 of 2 (50.0%)" in capsys.readouterr().out
    assert list(read_rows(tmp_path / "zoo.jsonl")) == ["file plain", "file float16"]


def test_the_page_names_what_fails(tmp_path):
    row = {"family": "timm x", "member": "x_tiny", "stage": "export", "seconds": 3.0, "reason": "no\ncut | at all"}
    write_reports(tmp_path, [row], 7)
    assert "| timm x | x_tiny | export: no cut / at all |" in (tmp_path / "README.md").read_text()
    assert "Tried: 1 of 7 families" in (tmp_path / "README.md").read_text()
    assert cells(row)[-1] == "export: no cut | at all"
