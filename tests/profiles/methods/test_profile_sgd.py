"""The whole-network baseline: the right network, trained as plain PyTorch trains it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from profile_bundles import make_bundle, make_images, small_network
from profile_samples import make_job

from lightcl_edge.bundle.bundle import Bundle
from lightcl_edge.data.specification import open_dataset
from lightcl_edge.inference.trunk import normalise
from lightcl_edge.machine.process_memory import PhaseMeter
from lightcl_profiler.measuring.launcher import run_method
from lightcl_profiler.methods import METHODS
from lightcl_profiler.methods.baseline import BaselineMethod
from lightcl_profiler.methods.contract import Job
from lightcl_profiler.networks.whole_network import load_whole_network


def _job(tmp_path: Path, tasks: list[Path], bundle: Path) -> Job:
    return replace(
        make_job("Sgd", tmp_path),
        method="sgd",
        implementation=METHODS["sgd"],
        bundle=str(bundle),
        tasks=[str(task) for task in tasks],
        batch_size=3,
        epochs=2,
    )


def test_one_epoch_is_plain_sgd(tmp_path: Path) -> None:
    """One batch of all images, one epoch: the loss is the cross entropy of the untouched network."""
    bundle = make_bundle(tmp_path, whole=small_network())
    data = make_images(tmp_path / "data", ["a", "b"])
    job = replace(_job(tmp_path, [data], bundle), batch_size=8, epochs=1)
    found = BaselineMethod().run(job, PhaseMeter())
    torch.manual_seed(job.seed)
    network, _ = load_whole_network(bundle, 2)
    info = Bundle.open(bundle).manifest.input
    dataset = open_dataset(str(data))
    images = normalise(np.stack([dataset.load(i, info) for i in range(8)]), info)
    logits = network(torch.from_numpy(images))
    expected = torch.nn.functional.cross_entropy(logits, torch.from_numpy(dataset.labels))
    assert found.loss == pytest.approx(float(expected.detach()), rel=1e-5)
    assert found.images == 8


def _two_tasks(tmp_path: Path) -> Job:
    tasks = [make_images(tmp_path / "one", ["a", "b"]), make_images(tmp_path / "two", ["c", "d"])]
    return _job(tmp_path, tasks, make_bundle(tmp_path, whole=small_network()))


def test_two_tasks_one_after_the_other(tmp_path: Path) -> None:
    meter = PhaseMeter()
    found = BaselineMethod().run(_two_tasks(tmp_path), meter)
    assert [record.name for record in meter.records] == ["load", "train", "train"]
    assert found.images == 16
    assert found.notes[0] == "network from the bundle's model.onnx, 1 BatchNorm layers"


@pytest.mark.slow
def test_in_a_process_of_its_own(tmp_path: Path) -> None:
    run = run_method(_two_tasks(tmp_path), run=1)
    assert [phase.name for phase in run.phases] == ["start", "load", "train 1", "train 2"]
    assert run.images == 16
    assert run.loss is not None
    assert run.notes[0] == "network from the bundle's model.onnx, 1 BatchNorm layers"
    assert run.import_rss_bytes > 100 * 2**20  # torch alone
