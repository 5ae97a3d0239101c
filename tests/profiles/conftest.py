"""Fixtures of the profiler's tests."""

from __future__ import annotations

from pathlib import Path

import pytest
from profile_samples import MIB, make_run

from lightcl_edge.machine.description import Machine
from lightcl_profiler.records.record import Failure, Report, Work
from lightcl_profiler.records.summary import summarise

HERE = Path(__file__).parent


@pytest.fixture
def report() -> Report:
    runs = [make_run("lightcl", 1, 100), make_run("sgd", 1, 520), make_run("lightcl", 2, 104)]
    work = Work(
        bundle="out/bundle",
        model='net<script>alert("x")</script>',
        cut="layer3",
        trunk_dtype="int8",
        data="photos & more/",
        tasks=[["cat<b>", "dog"], ["hen", "fox"]],
        images=40,
        skipped_images=1,
        epochs=2,
        batch_size=8,
        learning_rate=0.01,
        threads=2,
        seed=0,
        engine="auto",
    )
    machine = Machine(
        board=None,
        cpu_model="Cortex-A53 <rev 4>",
        architecture="aarch64",
        cores=4,
        ram_bytes=512 * MIB,
        page_size_bytes=16384,
        kernel="Linux 6.6",
        python="3.11.2",
        packages={"numpy": "2.0", "torch": "2.8.0"},
        cgroup="unavailable",
        cgroup_limit_bytes=None,
    )
    failures = [Failure("er", 1, "method 'er' in phase 'train' was killed by SIGKILL", 5)]
    titles = {"lightcl": "the <product>", "sgd": "plain SGD"}
    command = "lightcl-edge profile --data 'photos & more/'"
    return Report(command, "2026-11-23T07:00:00+00:00", machine, work, runs, summarise(runs, titles), failures)


@pytest.fixture
def toy_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let child processes import the toy methods."""
    monkeypatch.setenv("PYTHONPATH", str(HERE))
