"""The comparison with Avalanche: medians of runs that take turns, and the verdict. Avalanche itself is not needed."""

from __future__ import annotations

import json
import os
from pathlib import Path
from types import SimpleNamespace

import compare_avalanche
from compare_avalanche import CompareCommand
from one_command import run_command
from small_bundle import make_bundle, make_folder

MIB = 2**20


def test_medians_and_verdict(tmp_path, monkeypatch, capsys):
    order = []

    def run(job, number):
        way = job.implementation.rpartition(":")[2]
        order.append((job.method, way, number))
        peak = {"BaselineMethod": 600, "BaselineBesideAvalanche": 800}.get(way, 590 if job.method == "er" else 810)
        return SimpleNamespace(peak_rss_bytes=(peak + 7 * (number % 3)) * MIB, import_rss_bytes=200 * MIB)

    monkeypatch.setenv("PYTHONPATH", "elsewhere")
    monkeypatch.setattr(compare_avalanche, "run_method", run)
    monkeypatch.setattr(compare_avalanche, "join_tasks", lambda runs: runs[0])
    photos = make_folder(tmp_path / "photos", ["red", "green"], 2)
    bundle = make_bundle(tmp_path / "bundle")
    monkeypatch.setattr("sys.argv", ["x", str(bundle), "--data", str(photos), "--runs", "3", "--json", "--quiet"])
    assert run_command(CompareCommand()) == 0
    rows = {row["method"]: row for row in json.loads(capsys.readouterr().out)["methods"]}
    assert set(rows) == {"sgd", "er", "derpp", "ewc"}
    assert rows["sgd"]["peak_rss_bytes"] == 607 * MIB and rows["sgd"]["avalanche_peak_rss_bytes"] == 817 * MIB
    assert rows["sgd"]["no_more_than_avalanche"] and not rows["er"]["no_more_than_avalanche"]
    ways = [way for method, way, _ in order if method == "sgd"]
    assert ways == ["BaselineMethod", "BaselineBesideAvalanche", "AvalancheMethod"] * 3
    folder, elsewhere = os.environ["PYTHONPATH"].split(os.pathsep)
    assert (Path(folder) / "peers" / "avalanche.py").is_file() and elsewhere == "elsewhere"
    shown = CompareCommand().render({"methods": list(rows.values())})
    assert "607.0 MiB" in shown and "807.0 MiB" in shown
