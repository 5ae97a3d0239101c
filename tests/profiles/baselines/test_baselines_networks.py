"""Baselines that look inside the network: LightCL, its sparse form, progressive networks, SparCL."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from baseline_networks import CLASSES, SIDE, graph_network, picture_task

from lightcl_edge.errors import BundleError
from lightcl_profiler.baselines.contract import Settings, masked_cross_entropy
from lightcl_profiler.baselines.learning import learn_task
from lightcl_profiler.baselines.lightcl_sparse import LightClSparse
from lightcl_profiler.baselines.lightcl_torch import LightClTorch, important_channels
from lightcl_profiler.baselines.pnn import Column, Pnn
from lightcl_profiler.baselines.sparcl import Shares, SparclDerpp, SparclEr, top_share
from lightcl_profiler.networks.graph_network import find_cut, split_stages

SETTINGS = Settings(learning_rate=0.05, buffer_samples=5, epochs=2)


def learn(method, tasks: int = 2) -> None:
    for number in range(tasks):
        learn_task(method, picture_task(number), number, 6, np.random.default_rng(number))


def test_the_cut_is_found_by_the_number_of_layers_after_it() -> None:
    graph = graph_network().body.as_graph()
    assert [find_cut(graph, layers) for layers in (1, 2, 3)] == ["f", "r1", "r0"]
    with pytest.raises(BundleError, match=r"no tensor .* has the head's 9 layers after it"):
        find_cut(graph, 9)


def test_stages_end_before_the_activation_that_ends_a_size() -> None:
    network = graph_network()
    stages = split_stages(network, torch.zeros(1, 3, SIDE, SIDE))
    assert [stage.graph.outputs[0] for stage in stages] == ["n0", "n2", "logits"]
    assert [(stage.channels, stage.side, stage.starts_active) for stage in stages] == [
        (4, SIDE, False),
        (6, SIDE // 2, True),
        (CLASSES, 1, True),
    ]


def test_lightcl_freezes_the_trunk_but_not_its_statistics() -> None:
    method = LightClTorch(graph_network, SETTINGS)
    before = {name: tensor.detach().clone() for name, tensor in method.network.body.named_tensors().items()}
    statistics = [buffer.clone() for buffer in method.network.buffers()]
    learn(method)
    after = method.network.body.named_tensors()
    changed = {name for name, tensor in after.items() if not torch.equal(tensor, before[name])}
    assert changed == {"w2", "g2", "b2", "k", "z"}
    assert not any(torch.equal(a, b) for a, b in zip(statistics, method.network.buffers(), strict=True))


def test_lightcl_adds_the_change_of_patterns_in_marked_channels() -> None:
    """Before the first step of task 2 nothing has changed; moving a bias by d changes each of n logits by d."""
    method = LightClTorch(graph_network, SETTINGS, beta=0.5)
    learn(method, tasks=1)
    images = picture_task(1)
    method.begin_task(images.task(1))
    held = next(images.task(1).batches(5)).images
    assert float(method.distance(held)) == pytest.approx(0, abs=1e-9)
    with torch.no_grad():
        method.network.body.named_tensors()["z"][2] += 0.1
        assert float(method.distance(held)) == pytest.approx(5 * 0.01, rel=1e-4)
        old = method.network.activations(held)[1]["r2"]
        method.network.body.named_tensors()["b2"] += 0.3
        logits, found = method.network.activations(held)
        marked = method.masks["r2"]
        expected = ((found["r2"] - old) ** 2)[:, marked].sum() + (
            (logits - method._patterns["logits of the network"]) ** 2
        ).sum()
    assert int(marked.sum()) == 1, "15 % of 6 channels"
    assert float(method.distance(held).detach()) == pytest.approx(float(expected), rel=1e-4)
    batch = next(images.task(1).batches(6))
    plain = float(masked_cross_entropy(method.network(batch.images), batch.labels, (2, 3)).detach())
    assert method.step(images.task(1), batch) == pytest.approx(plain + 0.5 * float(expected), rel=1e-3)


def test_channels_with_the_largest_sums_are_marked() -> None:
    values = torch.tensor([[[1.0, -1.0], [5.0, 0.0], [0.0, -9.0]]])
    assert important_channels(values, 0.34).tolist() == [False, False, True]
    assert important_channels(values, 0.67).tolist() == [False, True, True]


def test_sparse_lightcl_masks_whole_channels_and_keeps_them_masked() -> None:
    method = LightClSparse(graph_network, SETTINGS, shares=(0.5, 0.25))
    learn(method)
    tensors = method.network.body.named_tensors()
    zero = {name: int((tensors[name].detach().flatten(1).abs().sum(1) == 0).sum()) for name in ("w0", "w1", "w2")}
    assert zero == {"w0": 1, "w1": 3, "w2": 3}
    masked = tensors["w2"].detach().flatten(1).abs().sum(1) == 0
    assert torch.all(tensors["g2"][masked] == 0)
    assert torch.all(tensors["b2"][masked] == 0)


def test_an_adapter_is_the_papers_equation() -> None:
    network = graph_network()
    before, stage = split_stages(network, torch.zeros(1, 3, SIDE, SIDE))[:2]
    column = Column(split_stages(network, torch.zeros(1, 3, SIDE, SIDE)), 2)
    adapter = column.adapters[0]
    assert (before.channels, stage.channels) == (4, 6)
    torch.nn.init.normal_(adapter.join.weight)
    hidden = [torch.rand(1, 4, SIDE, SIDE) - 0.5 for _ in range(2)]
    with torch.no_grad():
        shared = [column.share([each, torch.zeros(1, 6, 4, 4), torch.zeros(1, 4)])[0] for each in hidden]
        found = adapter(shared)[0, :, 1, 3].numpy()
        alpha, v, bias = adapter.alpha.numpy(), adapter.reduce.weight[:, :, 0, 0].numpy(), adapter.reduce.bias.numpy()
        u = adapter.join.weight[:, :, 0, 0].numpy()
    point = np.concatenate([alpha[i] * hidden[i][0, :, 2, 6].relu().numpy() for i in range(2)])  # a stride of 2
    np.testing.assert_allclose(found, u @ np.maximum(v @ point + bias, 0), rtol=1e-4, atol=1e-6)


def test_a_new_column_leaves_the_old_ones_as_they_were() -> None:
    method = Pnn(graph_network, SETTINGS)
    images = picture_task(0).load(np.arange(6))
    learn(method, tasks=1)
    old = method.logits(images, 0)
    fresh = graph_network().eval()
    method.begin_task(picture_task(1).task(1))
    with torch.no_grad():
        assert torch.allclose(method.logits(images, 1), fresh(images), atol=1e-5), "adapters start from zero"
    learn_task(method, picture_task(1), 2, 6, np.random.default_rng(1))
    assert torch.equal(method.logits(images, 0), old)
    assert not torch.allclose(method.logits(images, 2), fresh(images), atol=1e-3)
    joins = [adapter.join.weight.abs().sum() for adapter in method.columns[2].adapters]
    assert len(joins) == 2
    assert all(float(value.detach()) > 0 for value in joins), "lateral connections learn"


@pytest.mark.parametrize("kind", [SparclEr, SparclDerpp])
def test_sparcl_keeps_its_share_of_weights_and_gradients(kind: type) -> None:
    shares = Shares(weights=0.75, gradients=0.9, extra=0.05)
    method = kind(graph_network, SETTINGS, shares)
    images = picture_task(0)
    task = images.task(0)
    method.begin_task(task)
    method.begin_epoch(task, 0)
    before = [weight.detach().clone() for weight in method.weights]
    method.step(task, next(task.batches(6)))
    for old, weight in zip(before, method.weights, strict=True):
        assert int((old != 0).sum()) == round(0.25 * old.numel())
        assert 0 < int((old != weight).sum()) <= round(0.1 * old.numel())
    learn(method)
    for weight in method.weights:
        assert int((weight != 0).sum()) <= round(0.25 * weight.numel()), "a task gives back what it got on top"


def test_sparcl_removes_the_images_it_gets_right() -> None:
    method = SparclEr(graph_network, SETTINGS, Shares(removed=0.5))
    images = picture_task(0, count=8)
    task = images.task(0)
    method.begin_task(task)
    assert method.begin_epoch(task, 0).tolist() == list(range(8))
    batch = images.batch(np.arange(8))
    logits = torch.nn.functional.one_hot(batch.labels, CLASSES).float()
    logits[[1, 4, 5, 7]] *= -1
    method.count_mistakes(batch, logits)
    assert method.begin_epoch(task, 1).tolist() == [1, 4, 5, 7]


def test_the_largest_values_are_marked_but_never_zeros() -> None:
    assert top_share(torch.tensor([0.0, 3.0, 1.0, 2.0]), 0.5).tolist() == [False, True, False, True]
    assert top_share(torch.tensor([0.0, 0.0, 1.0, 0.0]), 0.5).tolist() == [False, False, True, False]
