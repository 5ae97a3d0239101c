"""The product's own method, profiled on a tiny bundle: two tasks, a process each, one state."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lightcl_edge.console.program import run_program
from lightcl_profiler.command import ProfileCommand
from lightcl_profiler.records.record import Report
from small_bundle import make_folder


@pytest.mark.parametrize("engine", ["ort", pytest.param("torch", marks=pytest.mark.slow)])
def test_two_tasks_through_the_devices_trainer(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], engine: str
) -> None:
    data = make_folder(tmp_path / "data", ["red", "green", "blue", "grey"])
    out = tmp_path / "out"
    options = ["--methods", "lightcl", "--runs", "1", "--epochs", "2", "--engine", engine, "--threads", "1"]
    arguments = ["profile", "--bundle", str(bundle), "--data", str(data), "--out", str(out), *options]
    assert run_program("lightcl-edge", "test", [ProfileCommand()], arguments) == 0
    report = Report.from_document(json.loads((out / "report.json").read_text()))
    (run,) = report.runs
    assert run.images == 48
    assert run.notes == [f"engine {engine}"]
    names = [phase.name for phase in run.phases]
    assert {"start 1", "extract 1", "train 1", "start 2", "extract 2", "train 2"} <= set(names)
    assert names.count("install") == 1  # the second task found the first one's state
    peaks = {phase.name: phase.peak_rss_bytes for phase in run.phases}
    if engine == "torch":
        assert peaks["extract 2"] < peaks["train 1"]  # a process of its own: torch is not loaded yet
    assert run.import_rss_bytes < 100 * 2**20
    assert "lightcl peaked at" in capsys.readouterr().out
