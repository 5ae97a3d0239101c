"""The race: real commands of the device; processes in PyTorch are replaced by records, as they need whole networks."""

from __future__ import annotations

import json
from types import SimpleNamespace

import race
from lightcl_edge.errors import NoEngineError
from one_command import run_command
from race import RaceCommand
from small_bundle import make_bundle, make_folder

MIB = 2**20


def test_a_race_counts_learning_alone_and_says_who_is_left_out(tmp_path, monkeypatch, capsys):
    seen = {}

    def run(job, number):
        if job.implementation.endswith("Avalanche"):
            raise NoEngineError("avalanche can't be imported")
        seen[job.method] = job
        phases = [
            SimpleNamespace(name="train", start_seconds=1.0, seconds=99.0, peak_rss_bytes=600 * MIB),
            SimpleNamespace(name="test", start_seconds=100.0, seconds=50.0, peak_rss_bytes=900 * MIB),
        ]
        return SimpleNamespace(phases=phases, holdout_accuracy=0.25)

    monkeypatch.setenv("PYTHONPATH", "elsewhere")
    monkeypatch.setattr(race, "run_method", run)
    photos = make_folder(tmp_path / "photos", ["red", "green", "blue", "grey"], 6)
    words = ["x", str(make_bundle(tmp_path / "bundle")), "--data", str(photos), "--test-data", str(photos)]
    sizes = ["--split", "2", "--learned", "1", "--images-per-class", "6", "--test-images-per-class", "2"]
    monkeypatch.setattr(
        "sys.argv", [*words, *sizes, "--epochs", "2", "--out", str(tmp_path / "out"), "--json", "--quiet"]
    )
    assert run_command(RaceCommand()) == 0
    document = json.loads(capsys.readouterr().out)
    default, own, *torch = document["rows"]
    assert default["accuracy"] > 0.5 and own["peak_rss_bytes"] > 40 * MIB  # two classes learned, two tested
    assert [(row["seconds"], row["peak_rss_bytes"], row["accuracy"]) for row in torch] == [(100, 600 * MIB, 0.25)] * 3
    assert len(seen["er"].tasks) == 1 and seen["er"].epochs == 2
    assert len(document["left_out"]) == 4 and "Avalanche: avalanche can't" in document["left_out"][0]
    page = (tmp_path / "out" / "README.md").read_text()
    assert "| ER, ours | 100.0 | 600.0 MiB | 25.0% |" in page and "Left out: ER, Mammoth" in page
