"""What every baseline must do, whatever it is."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from baseline_networks import CLASSES, graph_network, picture_task

from lightcl_edge.errors import UsageError
from lightcl_profiler.baselines import BASELINES, load_baseline
from lightcl_profiler.baselines.contract import Baseline, Settings
from lightcl_profiler.baselines.learning import learn_task

SETTINGS = Settings(learning_rate=0.05, buffer_samples=5, epochs=2)


def trained(name: str) -> tuple[Baseline, list[float]]:
    torch.manual_seed(0)
    method = load_baseline(name)(graph_network, SETTINGS)
    random = np.random.default_rng(0)
    return method, [learn_task(method, picture_task(number), number, 6, random) for number in range(2)]


@pytest.mark.parametrize("name", BASELINES)
def test_every_baseline(name: str) -> None:
    method, losses = trained(name)
    images = picture_task(1).load(np.arange(6))
    copy = images.clone()
    logits = method.logits(images, 1)
    assert logits.shape == (6, CLASSES)
    assert torch.isfinite(logits).all()
    assert torch.equal(images, copy), "images are not changed"
    again, same_losses = trained(name)
    assert losses == same_losses
    assert torch.equal(logits, again.logits(images, 1)), "the same seed gives the same network"
    buffer = getattr(method, "buffer", None)
    if buffer is not None:
        assert 0 < len(buffer) <= SETTINGS.buffer_samples


def test_a_baseline_learns_to_tell_its_task_apart() -> None:
    method = load_baseline("sgd")(graph_network, Settings(learning_rate=0.1, epochs=15))
    learn_task(method, picture_task(0), 0, 6, np.random.default_rng(0))
    images = picture_task(0)
    found = method.logits(images.load(np.arange(12)))[:, :2].argmax(dim=1).numpy()
    assert (found == images.labels).mean() > 0.9


def test_an_unknown_baseline_names_the_known() -> None:
    with pytest.raises(UsageError, match="found baseline 'magic', expected one of: joint, sgd, ewc"):
        load_baseline("magic")
