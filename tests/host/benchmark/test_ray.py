"""``benchmark --ray``: the same figures as in processes here, and one message where Ray is missing."""

import json
import subprocess
import sys
from dataclasses import replace

import pytest
from test_benchmark import benchmark, options  # noqa: F401 - a fixture

from flower_programs import PROGRAMS
from lightcl_host.cli import main

ON_RAY = """
import json, sys
from lightcl_edge.bundle.bundle import Bundle
from lightcl_edge.console.progress import Progress
from lightcl_host.benchmark.options import BenchmarkOptions
from lightcl_host.benchmark.ray_cluster import RayCluster
from lightcl_host.benchmark.runner import run_benchmark

options, cluster = BenchmarkOptions.from_document(json.loads(sys.argv[1])), RayCluster("local")
for methods in (["slda", "ncm"], ["sgd"]):  # sgd needs torch, which is not there
    options.methods[:] = methods
    print(json.dumps(run_benchmark(options, Bundle.open(options.bundle), Progress(quiet=True), cluster)))
"""


def test_without_ray_it_says_what_to_install(options, capsys, monkeypatch):  # noqa: F811
    monkeypatch.setitem(sys.modules, "ray", None)
    words = ["benchmark", "--model", "resnet18", "--data", options.data.data, "--ray", "local", "--out", "no"]
    assert main(words) == 2 and "pip install 'lightcl-edge[ray]'" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.skipif(not (PROGRAMS / "ray").exists(), reason="no Ray beside Flower")
def test_a_cluster_says_the_same_as_processes_here_and_tells_a_failure(options):  # noqa: F811
    few = replace(options, methods=["slda", "ncm"], jobs=4)
    words = [PROGRAMS / "python", "-c", ON_RAY, json.dumps(few.to_document())]
    done = subprocess.run(words, check=False, text=True, capture_output=True)
    assert "Error: method 'sgd' with seed 0" in done.stderr, done.stderr[-2000:]
    for one, other in zip(json.loads(done.stdout), benchmark(replace(few, out=few.out / "here")), strict=True):
        assert one["class_incremental_matrix"] == other["class_incremental_matrix"]
        assert one["peak_rss_bytes"] > 20_000_000
