"""The benchmark of training steps, end to end on a tiny bundle."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import bench_step
from bench_step import BenchStepCommand
from small_bundle import make_bundle
from step_bundle import make_step_bundle


def bench(bundle: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    sizes = ["--batch-size", "8", "--buffer", "3", "--steps", "3", "--runs", "1", "--threads", "1"]
    command = [sys.executable, bench_step.__file__, str(bundle), *sizes, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


ALL = ["ort_auto", "ort_in_place", "ort_accumulate", "torch_engine", "torch_sgd"]


@pytest.mark.parametrize("names", [["ort_in_place", "torch_sgd"], pytest.param(ALL, marks=pytest.mark.slow)])
def test_methods_do_the_same_steps(tmp_path: Path, names: list[str]) -> None:
    """All methods end at the same loss, and onnxruntime needs less memory than torch."""
    done = bench(make_step_bundle(tmp_path), "--methods", ",".join(names), "--json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    methods = {entry["method"]: entry for entry in document["methods"]}
    assert list(methods) == names
    losses = [entry["loss"] for entry in methods.values()]
    assert losses == pytest.approx([losses[0]] * len(names), rel=1e-5)
    for entry in methods.values():
        assert 0 < entry["import_rss_bytes"] <= entry["load_rss_bytes"] <= entry["peak_rss_bytes"]
        assert entry["seconds_per_step"] > 0
    assert methods["torch_sgd"]["peak_ratio"] == 1
    for name in {"ort_in_place", "ort_accumulate"}.intersection(names):
        assert methods[name]["peak_ratio"] > 1.5
    text = BenchStepCommand().render(document)
    assert "torch_sgd / this" in text
    assert "ort_in_place" in text


def test_wrong_arguments(tmp_path: Path) -> None:
    plain = make_bundle(tmp_path / "plain", steps=False)
    done = bench(plain)
    assert done.returncode == 2
    assert "no training_step graph with buffered samples, expected one" in done.stderr
    done = bench(plain, "--methods", "tensorflow")
    assert (
        "found method 'tensorflow', expected some of ort_auto, ort_in_place, ort_accumulate, torch_engine, torch_sgd"
        in done.stderr
    )
